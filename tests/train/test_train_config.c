/* Settings of training runs: defaults, files, overrides, mistakes, presets. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/train_config.h"
#include "train/train_config_keys.h"

static bool parse(struct train_config *config, const char *yaml, struct dino_error *err)
{
    struct span text = {(const uint8_t *)yaml, strlen(yaml)};
    return dn_train_config_parse(config, text, "run.yaml", err);
}

/* The text is refused with a message that holds `part`, and nothing has changed. */
static void check_refused(const char *yaml, const char *part)
{
    struct train_config config, before;
    struct dino_error err = {0};

    dn_train_config_defaults(&config);
    before = config;
    if (parse(&config, yaml, &err))
        fail_msg("accepted: %s", yaml);
    if (!strstr(err.message, part))
        fail_msg("'%s' does not say '%s'", err.message, part);
    assert_memory_equal(&config, &before, sizeof config);
}

TEST(defaults_are_the_official_ones_and_pass)
{
    struct train_config c;
    struct dino_error err = {0};

    dn_train_config_defaults(&c);
    CHECK(c.dino.head.prototypes == 65536 && c.ibot.head.hidden == 2048);
    CHECK(c.ibot.mask_ratio_min_max[0] == 0.1 && c.ibot.mask_ratio_min_max[1] == 0.5);
    CHECK(c.train.batch_size == 64 && c.train.epoch_length == 1250);
    CHECK(c.train.centering == CENTERING_SOFTMAX && c.student.arch == ARCH_LARGE);
    CHECK(c.student.layerscale == 1e-5 && c.optim.min_lr == 1e-6);
    CHECK(c.optim.base_lr == 0.004 && c.teacher.final_momentum == 1);
    CHECK(strcmp(c.train.dataset_path, "ImageNet:split=TRAIN") == 0);
    CHECK(strcmp(c.compute_precision.student.dino_head.reduce_dtype, "fp32") == 0);
    CHECK(strcmp(c.compute_precision.teacher.ibot_head.reduce_dtype, "fp16") == 0);
    CHECK_OK(dn_train_config_check(&c, &err), err);
}

TEST(every_default_is_a_value_of_its_own_type)
{
    struct train_config c;
    struct str yaml = {0};
    struct dino_error err = {0};
    int lines = 0;

    dn_train_config_defaults(&c);
    dn_train_config_text(&c, &yaml);
    for (const char *p = yaml.text; *p; p++)
        lines += *p == '\n';
    CHECK(lines > (int)dn_config_key_count);
    memset(&c, 0, sizeof c);
    CHECK_OK(parse(&c, yaml.text, &err), err);
    struct train_config defaults;
    dn_train_config_defaults(&defaults);
    assert_memory_equal(&c, &defaults, sizeof c);
    dn_str_release(&yaml);
}

static const char long_run[] = "# a long run, in the layout of the official files\n"
                               "dino:\n"
                               "  head_n_prototypes: 131072\n"
                               "  head_bottleneck_dim: 384\n"
                               "ibot:\n"
                               "  separate_head: true\n"
                               "  mask_ratio_min_max:\n"
                               "  - 0.2\n"
                               "  - 0.6\n"
                               "train:\n"
                               "  batch_size_per_gpu: 12\n"
                               "  dataset_path: ImageNet22k\n"
                               "  centering: \"sinkhorn_knopp\"\n"
                               "student:\n"
                               "  arch: vit_giant2_memeff\n"
                               "  patch_size: 14\n"
                               "  ffn_layer: swiglufused\n"
                               "optim:\n"
                               "  base_lr: 2.0e-04  # for a batch of 1024\n"
                               "  lr: 0.\n"
                               "  layerwise_decay: 1\n"
                               "crops:\n"
                               "  local_crops_size: 98";

TEST(a_file_changes_what_it_names_and_nothing_else)
{
    struct train_config c;
    struct vit_config vit;
    struct dino_error err = {0};

    dn_train_config_defaults(&c);
    CHECK_OK(parse(&c, long_run, &err), err);
    CHECK(c.dino.head.prototypes == 131072 && c.dino.head.bottleneck == 384);
    CHECK(c.ibot.head.prototypes == 65536 && c.ibot.separate_head);
    CHECK(c.ibot.mask_ratio_min_max[0] == 0.2 && c.ibot.mask_ratio_min_max[1] == 0.6);
    CHECK(c.train.centering == CENTERING_SINKHORN && c.train.batch_size == 12);
    CHECK(c.optim.base_lr == 2e-4 && c.optim.layerwise_decay == 1 && c.optim.epochs == 100);
    CHECK_OK(dn_train_config_check(&c, &err), err);
    CHECK_OK(dn_train_config_vit(&c, &vit, &err), err);
    CHECK(vit.dim == 1536 && vit.depth == 40 && vit.heads == 24 && vit.hidden == 4096);
    CHECK(vit.ffn == DINO_FFN_SWIGLU && vit.patch == 14 && vit.grid_rows == 16);
}

TEST(overrides_are_yaml_values)
{
    struct train_config c;
    struct dino_error err = {0};
    static const char *const lines[] = {"crops.local_crops_scale=[0.1, 0.4]",
                                        "optim.epochs=7",
                                        "train.dataset_path=Name:split=TRAIN:root=/data",
                                        "ibot.separate_head=True",
                                        "student.pretrained_weights='12'",
                                        "train.output_dir=",
                                        "MODEL.WEIGHTS=null"};

    dn_train_config_defaults(&c);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        CHECK_OK(dn_train_config_override(&c, lines[i], &err), err);
    CHECK(c.crops.local_scale[0] == 0.1 && c.crops.local_scale[1] == 0.4);
    CHECK(c.optim.epochs == 7 && c.ibot.separate_head);
    CHECK(strcmp(c.train.dataset_path, "Name:split=TRAIN:root=/data") == 0);
    CHECK(strcmp(c.student.pretrained_weights, "12") == 0);
    CHECK(!*c.train.output_dir && !*c.weights);
}

TEST(wrong_overrides_are_refused_and_say_what_was_meant)
{
    static const char *const cases[][2] = {
        {"optim.epoch=3", "did you mean optim.epochs?"},
        {"optim.batch_size_per_gpu=3", "did you mean train.batch_size_per_gpu?"},
        {"optim.warmup=3", "did you mean optim.warmup_epochs?"},
        {"nothing.like.it=3", "no setting is called nothing.like.it"},
        {"optim=3", "no setting is called optim"},
        {"optim.epochs", "wanted key.path=value"},
        {"=3", "wanted key.path=value"},
        {"optim.epochs=ten", "optim.epochs is 'ten', wanted a whole number from 1"},
        {"optim.epochs=0", "from 1"},
        {"optim.epochs=1.5", "whole number"},
        {"optim.epochs='5'", "without quotes"},
        {"optim.epochs=[5]", "a list of 1, wanted a single value"},
        {"optim.epochs=", "wanted a value"},
        {"optim.base_lr=nan", "wanted a number from 0"},
        {"optim.base_lr=0x10", "wanted a number"},
        {"optim.base_lr=1e999", "wanted a number"},
        {"optim.base_lr={a: b}", "wanted a value"},
        {"ibot.separate_head=1", "true or false"},
        {"ibot.mask_ratio_min_max=0.3", "two rising numbers"},
        {"ibot.mask_ratio_min_max=[0.5, 0.1]", "two rising numbers"},
        {"ibot.mask_ratio_min_max=[0.1, 0.2, 0.3]", "more than two"},
        {"train.centering=sinkhorn", "'sinkhorn', wanted centering or sinkhorn_knopp"},
        {"optim.scaling_rule=linear", "sqrt_wrt_1024"},
        {"train.output_dir=\"a\\nb\"", "control characters"},
        {"train.output_dir=&a x y: z", "key=value"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_config c;
        struct dino_error err = {0};
        dn_train_config_defaults(&c);
        if (dn_train_config_override(&c, cases[i][0], &err))
            fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(err.message, cases[i][1]) && i + 1 < sizeof cases / sizeof *cases)
            fail_msg("%s: '%s' does not say '%s'", cases[i][0], err.message, cases[i][1]);
    }
}

TEST(wrong_files_are_refused_with_their_line)
{
    check_refused("optim:\n  epochs: 3\n  epoch: 4\n", "run.yaml:3: no setting is called");
    check_refused("optim:\n  epochs: 3\n  epochs: 4\n", "run.yaml:3: optim.epochs stands");
    check_refused("optim:\n  epochs: many\n", "run.yaml:2: optim.epochs is 'many'");
    check_refused("optim: 3\n", "optim is a section");
    check_refused("optim:\n- 3\n", "optim is a section");
    check_refused("optim:\n  epochs:\n    more: 3\n", "wanted a value");
    check_refused("optim:\n  epochs: [[3]]\n", "a list in a list");
    check_refused("optim:\n  epochs: !!int 3\n", "a tag");
    check_refused("optim:\n  epochs: &a 3\n  warmup_epochs: *a\n", "run.yaml:3");
    check_refused("optimiser:\n  epochs: 3\n", "run.yaml:1: no setting is called optimiser");
    check_refused("? [a, b]\n: 3\n", "name of a setting");
    check_refused("- 3\n", "wanted sections");
    check_refused("optim\n", "wanted sections");
    check_refused("optim:\n  epochs: 3\n---\noptim:\n", "a second document");
    check_refused("optim:\n\tepochs: 3\n", "not YAML");
    check_refused("optim:\n  epochs: \"3\n", "not YAML");
    check_refused("train:\n  output_dir: \xff\xfe\n", "not YAML");
    check_refused("train:\n  output_dir: \"a\\0b\"\n", "zero");
    check_refused("optim:\n  epochs: 3\n  base_lr: 1\n  lr: *x\n", "run.yaml:4");
}

TEST(text_that_is_too_long_for_its_field_is_refused)
{
    char yaml[3000] = "train:\n  output_dir: ";
    size_t used = strlen(yaml);

    memset(yaml + used, 'x', 2000);
    check_refused(yaml, "1023");
    snprintf(yaml, sizeof yaml,
             "compute_precision:\n  student:\n    backbone:\n"
             "      sharding_strategy: a_strategy_of_more_than_23_bytes\n");
    check_refused(yaml, "wanted at most 23");
    memset(yaml, 'x', 2999);
    memcpy(yaml + 900, ": 3", 4);
    check_refused(yaml, "too long");
}

TEST(empty_files_and_empty_sections_change_nothing)
{
    static const char *const texts[] = {"", "\n# nothing\n", "---\n", "optim:\n",
                                        "optim: {}\n"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct train_config c, before;
        struct dino_error err = {0};
        dn_train_config_defaults(&c);
        before = c;
        CHECK_OK(parse(&c, texts[i], &err), err);
        assert_memory_equal(&c, &before, sizeof c);
    }
}

TEST(what_is_written_is_read_back_equal)
{
    struct train_config c, back;
    struct dino_error err = {0};
    char path[300];

    dn_train_config_defaults(&c);
    CHECK_OK(parse(&c, long_run, &err), err);
    c.optim.base_lr = 1.0 / 3;
    c.optim.min_lr = 1e-300;
    c.train.seed = 1LL << 53;
    snprintf(c.train.output_dir, CONFIG_TEXT, "it's: #1 \"\\ [x] \xc3\xa9");
    snprintf(path, sizeof path, "%s/config.yaml", testing_scratch());
    CHECK_OK(dn_train_config_write(&c, path, &err), err);
    dn_train_config_defaults(&back);
    CHECK_OK(dn_train_config_read(&back, path, &err), err);
    assert_memory_equal(&c, &back, sizeof c);
    CHECK(!dn_train_config_read(&back, "/nowhere/run.yaml", &err));
    CHECK(err.code == DINO_EIO);
}

TEST(reals_are_written_with_a_point)
{
    struct train_config c;
    struct str yaml = {0};

    dn_train_config_defaults(&c);
    dn_train_config_text(&c, &yaml);
    CHECK(strstr(yaml.text, "  min_lr: 1.0e-06\n"));
    CHECK(strstr(yaml.text, "  final_momentum_teacher: 1.0\n"));
    CHECK(strstr(yaml.text, "  mask_ratio_min_max:\n  - 0.1\n  - 0.5\n"));
    CHECK(strstr(yaml.text, "\n  student:\n    backbone:\n      sharding_strategy: "));
    dn_str_release(&yaml);
}

TEST(what_does_not_fit_together_is_refused)
{
    static const char *const cases[][2] = {
        {"crops.global_crops_size=225", "multiple of student.patch_size 16, as 224 or 240"},
        {"crops.local_crops_size=98", "crops.local_crops_size is 98"},
        {"optim.epochs=9", "wanted at most optim.epochs, 9"},
        {"student.embed_dim=100", "student"},
        {"student.num_heads=5", "student"},
        {"student.interpolate_antialias=true", "interpolate_offset 0.1"},
        {"crops.local_crops_scale=[0, 0]", "ends at 0"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_config c;
        struct dino_error err = {0};
        dn_train_config_defaults(&c);
        CHECK_OK(dn_train_config_override(&c, cases[i][0], &err), err);
        if (dn_train_config_check(&c, &err))
            fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(err.message, cases[i][1]))
            fail_msg("%s: '%s' does not say '%s'", cases[i][0], err.message, cases[i][1]);
    }
}

TEST(without_local_crops_their_size_does_not_matter)
{
    struct train_config c;
    struct dino_error err = {0};

    dn_train_config_defaults(&c);
    c.crops.local_number = 0;
    c.crops.local_size = 97;
    CHECK_OK(dn_train_config_check(&c, &err), err);
}

TEST(every_preset_passes_and_unknown_ones_are_listed)
{
    struct train_config c;
    struct dino_error err = {0};
    int count = 0;

    for (const struct train_preset *preset; (preset = dn_train_preset(count)); count++) {
        dn_train_config_defaults(&c);
        CHECK_OK(dn_train_config_preset(&c, preset->name, &err), err);
        CHECK_OK(dn_train_config_check(&c, &err), err);
    }
    CHECK(count >= 3 && !dn_train_preset(-1));
    CHECK(!dn_train_config_preset(&c, "vits14", &err));
    CHECK(strstr(err.message, "vits14-small-data, vitb14-small-data"));
}

TEST(the_preset_for_the_smallest_network_is_small)
{
    struct train_config c;
    struct vit_config vit;
    struct dino_error err = {0};

    dn_train_config_defaults(&c);
    CHECK_OK(dn_train_config_preset(&c, "vitt14-small-data", &err), err);
    CHECK_OK(dn_train_config_vit(&c, &vit, &err), err);
    CHECK(vit.dim == 256 && vit.heads == 4 && vit.depth == 6 && vit.hidden == 1024);
    CHECK(vit.positions == DINO_POSITIONS_ANTIALIAS && vit.grid_rows == 4);
}
