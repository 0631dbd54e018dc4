/* dino distill: teach a smaller network what a larger one has learned. */
#include "train_run.h"

#define PLACE(member) offsetof(struct train_settings, member)

static const struct option distil_rows[] = {
    {"teacher", 't', OPTION_TEXT, PLACE(teacher), "L",
     "a run, a checkpoint or teacher with its heads, or a bare model"},
    {"student", 's', OPTION_TEXT, PLACE(student), "S",
     "vitt14, vits14_reg, ..., or a file to begin with"},
    {"cache", 0, OPTION_TEXT, PLACE(cache), "DIR",
     "keep the teacher's features there, for this and other runs"},
    {0},
};

static const struct option_group groups[] = {
    {"Distillation", distil_rows, 0},
    {"Run", dn_train_run_rows, 0, dn_train_stage_conflict},
    {"Measured on the way", dn_train_knn_rows, 0, dn_train_knn_conflict},
    {"Machine", dn_train_machine_rows, 0},
    {0},
};

static int run(struct call *call)
{
    const struct train_settings *settings = call->settings;

    if (!settings->teacher || !*settings->teacher)
        return dn_misuse(call, "who teaches? --teacher L, a run or a model");
    return dn_train_run(call);
}

const struct command dn_cmd_distill = {
    .name = "distill",
    .summary = "teach a smaller network what a larger one has learned",
    .arguments = "PATHS... --teacher L --student S -o RUN [key=value...]",
    .about =
        "As dino train, with a frozen teacher: the student sees whole pictures, nothing of\n"
        "it is dropped, and it learns the teacher's answers for the class token and for\n"
        "every patch. Both have patches of one size. The student's heads have as many\n"
        "prototypes as the teacher's; a teacher without heads (the released weights have\n"
        "none) gets heads made of its own features. RUN gets student.pth and student/,\n"
        "the student's moving average. With --cache, distillation.crop_epochs=N lets the\n"
        "crops of N epochs come again, so that the teacher looks at each crop once.",
    .groups = groups,
    .settings_size = sizeof(struct train_settings),
    .computes = true,
    .least = 1,
    .most = -1,
    .run = run,
    .examples = "  dino distill photos/ --teacher large-run --student vitt14_reg -o small\n"
                "  dino distill photos/ --teacher dinov2_vitl14.pth --student vits14 -o small\n"
                "  dino distill photos/ --teacher large-run --student vitt14 -o small \\\n"
                "      --cache features distillation.crop_epochs=4",
};
