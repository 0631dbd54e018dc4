/*
 * dino_train.h - DINOv2 pre-training in C: teach a vision transformer with pictures alone.
 *
 *     struct dino_train_options options = {.size = sizeof options, .output = "run"};
 *     const char *folder = "photos";
 *
 *     options.pictures = &folder;
 *     options.picture_count = 1;
 *     if (!dino_train(&options, NULL, &err))
 *         fprintf(stderr, "%s\n", err.message);
 *     // run/teacher.pth opens with dino_model_open
 *
 * The rules of dino.h hold. A run is its folder: config.yaml (all settings, in the official
 * layout), training_metrics.json (one line a step), checkpoints/, teacher.pth and, at its end,
 * teacher/ (a Hugging Face folder). The same call on the same folder goes on where the run was,
 * and gives the bytes of a run that was never stopped (same machine, same threads).
 */
#ifndef DINO_TRAIN_H
#define DINO_TRAIN_H

#include "dino.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The processes that train together: those that mpirun (or srun) started, else this one alone.
 * Open before and close after anything that takes it, on every process. Processes started
 * together need libdino_mpi.so, which is built where there is MPI; who is alone needs nothing.
 * A process opens once; MPI is started if the program has not, and then also ended.
 */
struct dino_comm;
DINO_API struct dino_comm *dino_comm_open(struct dino_error *err);
DINO_API void dino_comm_close(struct dino_comm *comm);
DINO_API int dino_comm_rank(const struct dino_comm *comm); /* from 0; 0 for NULL */
DINO_API int dino_comm_size(const struct dino_comm *comm); /* 1 for NULL */
/* Can this process no longer reach the others? Then what failed is known to it alone, and
 * closing ends them all. */
DINO_API bool dino_comm_lost(const struct dino_comm *comm);
/* Name and version of the MPI that would be used; false: there is none, and the text says why.
 */
DINO_API bool dino_comm_transport(char text[256]);

/* What was chosen; strings are valid during the call. */
struct dino_train_plan {
    const char *preset; /* NULL: none */
    const char *arch;   /* "vits14_reg", ... or "custom" */
    int dim, depth, heads, patch, registers, prototypes;
    int global_size, local_size, local_crops;
    int64_t parameters; /* of the backbone */
    int64_t pictures;
    int batch, micro; /* pictures a step, and of them at a time in each process */
    int processes;
    int64_t epochs, epoch_length, steps, first_step;
    double lr;             /* at its peak */
    size_t bytes;          /* of activations, parameters, moments and a device's scratch */
    const char *device;    /* of the first process */
    const char *exchange;  /* what GPUs exchange numbers with; NULL: no GPU, or one process */
    enum dino_dtype dtype; /* of the arithmetic: f32, or 16 bits with f32 sums and parameters */
    enum dino_dtype dtype_asked; /* for, DINO_AUTO: nothing; not dtype: the device has it not */
    int threads, readers;        /* 0 readers: one a core */
    const char *checkpoint;      /* that the run goes on from; NULL: it begins */
    const char *from;            /* the file whose weights it began with; NULL: random ones */
    int from_grid, grid;         /* sides of the position grids of that file and of the run */
    bool from_heads;             /* the heads are the file's, too; else new ones */
    int64_t frozen_epochs;       /* while which only the heads learn */
    const char *teacher; /* the file of a frozen one; NULL: the student's average teaches */
    int teacher_dim, teacher_depth;
    bool teacher_has_heads;          /* else they were made of its features */
    const char *cache;               /* the file of its features; NULL: they are not kept */
    size_t cache_record;             /* bytes a step */
    int64_t cache_steps, cache_made; /* all, and those that are there */
};

struct dino_train_step {
    int64_t step, steps; /* done, of all */
    int64_t skipped;     /* unreadable pictures met in this call */
    int batch;
    double seconds;                          /* since the first step of this call began */
    double seconds_left;                     /* at the pace of this call; 0: not known yet */
    double waited;                           /* of `seconds`, for pictures to be read */
    double lr, loss, dino, ibot, koleo, knn; /* knn: percent, -1 if not measured */
    /* With options.from and k-NN, step 0 is said first: knn of what the run begins with. */
};

struct dino_train_options {
    size_t size;
    const char *const *pictures; /* folders, lists and tar shards; labels are not read */
    int picture_count;
    const char *output; /* the run's folder */
    /* A trained network to begin with: a run's folder (its last checkpoint, else its best), or
     * any file or folder that dino_model_open takes. Sets student.pretrained_weights, takes the
     * network's shape, crops and, where it has them, heads from there, and gentler schedules;
     * NULL: what student.pretrained_weights says, which takes the shape and weights alone. */
    const char *from;
    bool high_res; /* with from: crops of twice the side, the run's schedules shortened */
    /*
     * Distillation: a network that is not trained makes the targets, the student sees all
     * patches and learns all of them, and the run leaves the student's average (student.pth,
     * student/). A run's folder, a checkpoint or teacher export with its heads, or any model:
     * heads are then made of its features. NULL: the setting distillation.teacher, if any.
     */
    const char *teacher;
    const char *student; /* "vitt14", "vits14_reg"...: over preset and config; NULL: theirs */
    /* A folder where the teacher's features are kept for this and other runs, one file; NULL:
     * they are computed each time. The same bits either way. */
    const char *cache;
    const char *preset;          /* NULL: by the number of pictures, unless config is given */
    const char *config;          /* a YAML file in the official layout, or NULL */
    const char *const *settings; /* "optim.epochs=50", over preset and file */
    int setting_count;
    const char *knn_train, *knn_val; /* folders with a folder a class, or NULL */
    int64_t knn_steps;  /* between measurements; 0: evaluation.eval_period_iterations */
    int micro;          /* pictures at a time; 0: what memory holds. The gradient is the same */
    bool checkpointing; /* keep less, compute more */
    /* NULL or "auto", "cpu", "cuda:N"; "cuda": the GPU of this process's place among those on
     * its machine. Each process has a GPU of its own, or is refused. */
    const char *device;
    int threads, readers; /* 0: this process's share of the cores */
    /* F32, BF16, F16 (of cuda, with the loss scaled), or AUTO: of a config that is given, its
     * compute_precision.student.backbone, else bf16, where the device multiplies it. A run
     * keeps the one it began with: AUTO goes on with it, another is refused. Its files hold f32
     * either way. */
    enum dino_dtype dtype;
    struct dino_comm *comm; /* the processes that train together; NULL: this one alone */
    int64_t save_steps;     /* between checkpoints; 0: by time */
    double save_seconds;    /* 0: 300 */
    int keep;               /* checkpoints; 0: 3 */
    int64_t health_steps;   /* between looks for collapse; 0: 50, < 0: never */
    void (*started)(void *context, const struct dino_train_plan *plan);
    /* false on any process: all stop */
    bool (*progress)(void *context, const struct dino_train_step *step);
    dino_skip_fn skipped;
    void *context;
};

struct dino_train_result {
    int64_t steps;  /* done, of the whole run */
    double loss;    /* of the last step */
    double knn;     /* the last, percent; -1: not measured */
    double seconds; /* of this call */
    int64_t skipped;
};

/* Stopped by progress, it leaves a checkpoint and fails with DINO_ECANCELLED. NULL result is
 * allowed. */
DINO_API bool dino_train(const struct dino_train_options *options,
                         struct dino_train_result *result, struct dino_error *err);

/* What training takes of each process's memory, in bytes where nothing else is said. */
struct dino_train_memory {
    char arch[32];
    int64_t parameters; /* of the student, heads included */
    int processes;
    int batch, micro; /* pictures of a process a step, and of them at a time */
    size_t student, teacher, gradients;
    size_t moments;     /* of AdamW: this process's share of them */
    size_t activations; /* of one part, and what is kept of the whole batch beside logits */
    size_t logits;      /* targets of the whole batch, the student's answers of one part */
    size_t scratch; /* what a GPU's operations take on the way: scratch, staging, products */
    size_t buckets; /* what passes between GPUs; NCCL's own buffers are not known */
    size_t batches; /* crops: those in use and those made ahead */
    bool batches_elsewhere; /* in the host's memory, not in the GPU's: not in `all` */
    size_t all;
    size_t room;    /* what there is for it: `all` beyond it does not fit */
    size_t traffic; /* sent to the other processes in a step */
};

/*
 * Count, without taking it, the memory of a run with these options: pictures are only counted
 * and may be left out where preset or config is given, output is not looked at. `processes`
 * train together (0: one), each with `memory` bytes (0: this machine's, of which half is left
 * to others while there is a choice). With `memory` a device "cuda" need not be here. Succeeds
 * as well where it does not fit.
 */
DINO_API bool dino_train_count(const struct dino_train_options *options, int processes,
                               size_t memory, struct dino_train_memory *count,
                               struct dino_error *err);

/* What a run's training_metrics.json holds. */
struct dino_train_curves {
    int64_t steps;      /* up to the last one that is written down */
    int64_t lines;      /* that hold a step */
    int64_t unreadable; /* lines that do not */
};

/*
 * Draw the curves of a run: losses, rates, norms of gradients, signs of health, k-NN, time.
 * `run` is its folder, or a file of such lines, the official one included; `output` ends in
 * .svg or .png. A run that is under way may be drawn. Fails where no step is written down.
 * `result` may be NULL.
 */
DINO_API bool dino_train_plot(const char *run, const char *output,
                              struct dino_train_curves *result, struct dino_error *err);

/* Name and purpose of the index-th preset; false behind the last. */
DINO_API bool dino_train_preset(int index, const char **name, const char **about);

#ifdef __cplusplus
}
#endif

#endif
