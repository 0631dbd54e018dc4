/* Order, passes, replacements and kinds of sources. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/dataset.h"
#include "train/testing_pictures.h"

static void open_folder(struct dataset *dataset, const char *folder, uint64_t seed)
{
    struct dino_error err = {0};
    CHECK_OK(dn_dataset_open(dataset, &folder, 1, seed, &err), err);
}

TEST(each_pass_meets_every_picture_once_in_an_order_of_its_own)
{
    struct dataset dataset, other;
    int64_t orders[4][11];
    const char *folder = draw_pictures("passes", 11, 0);

    open_folder(&dataset, folder, 5);
    open_folder(&other, folder, 6);
    CHECK(dataset.count == 11);
    for (int pass = 0; pass < 4; pass++) {
        char met[11] = {0};
        for (int i = 0; i < 11; i++) {
            struct sample sample =
                dn_dataset_sample(pass < 3 ? &dataset : &other, pass % 3 * 11 + i);
            CHECK(sample.pass == pass % 3 && sample.position == i);
            int64_t picture = dn_dataset_picture(pass < 3 ? &dataset : &other, sample, 0);
            CHECK(picture >= 0 && picture < 11 && !met[picture]);
            met[picture] = 1;
            orders[pass][i] = picture;
        }
        for (int before = 0; before < pass; before++)
            CHECK(memcmp(orders[pass], orders[before], sizeof orders[0]) != 0);
    }
    dn_dataset_close(&dataset);
    dn_dataset_close(&other);
}

TEST(unreadable_pictures_are_replaced_by_others_always_the_same)
{
    const unsigned broken = 1 << 2 | 1 << 7 | 1 << 8;
    struct dataset dataset;
    const char *folder = draw_pictures("broken", 10, broken);
    int missed = 0;

    open_folder(&dataset, folder, 1);
    for (int64_t number = 0; number < 60; number++) {
        struct sample sample = dn_dataset_sample(&dataset, number);
        struct misses misses = {0}, again = {0};
        struct dino_image image = {0}, twin = {0};
        struct dino_error err = {0};
        CHECK_OK(dn_dataset_read(&dataset, sample, &image, &misses, &err), err);
        CHECK_OK(dn_dataset_read(&dataset, sample, &twin, &again, &err), err);
        CHECK(image.width == twin.width && misses.count == again.count);
        for (size_t i = 0; i < misses.count; i++) {
            int64_t picture = dn_dataset_picture(&dataset, sample, (int)i);
            const char *name = dino_source_name(dataset.source, picture);
            CHECK(misses.items[i].picture == picture);
            CHECK(strstr(misses.items[i].why.message, name));
            CHECK(broken >> strtol(strrchr(name, '/') + 1, NULL, 10) & 1);
        }
        int64_t taken = dn_dataset_picture(&dataset, sample, (int)misses.count);
        const char *name = dino_source_name(dataset.source, taken);
        CHECK(image.width == 20 + strtol(strrchr(name, '/') + 1, NULL, 10));
        missed += (int)misses.count;
        dino_image_release(&image);
        dino_image_release(&twin);
        dn_misses_release(&misses);
        dn_misses_release(&again);
    }
    CHECK(missed >= 18); /* each of three once a pass, and where replacements miss too */
    dn_dataset_close(&dataset);
}

TEST(a_folder_of_broken_pictures_fails_with_a_line)
{
    struct dataset dataset;
    struct misses misses = {0};
    struct dino_image image = {0};
    struct dino_error err = {0};

    open_folder(&dataset, draw_pictures("ruins", 3, 7), 1);
    CHECK(!dn_dataset_read(&dataset, (struct sample){0, 0}, &image, &misses, &err));
    CHECK(strstr(err.message, "100 pictures in a row cannot be read"));
    CHECK(misses.count == 100);
    dn_misses_release(&misses);
    dn_dataset_close(&dataset);
}

TEST(nothing_to_read_is_refused)
{
    struct dataset dataset;
    struct dino_error err = {0};
    const char *path = "/nowhere/at/all";

    CHECK(!dn_dataset_open(&dataset, &path, 1, 0, &err));
    CHECK(strstr(err.message, "/nowhere/at/all"));
}

/* tar is on every machine that builds this. */
static void shell(const char *format, const char *folder)
{
    char command[900];
    snprintf(command, sizeof command, format, folder, folder);
    CHECK(system(command) == 0);
}

/* All pictures of one pass, in its order, as a sum. */
static uint64_t sum_of_pass(const struct dataset *dataset)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < dataset->count; i++) {
        struct misses misses = {0};
        struct dino_image image = {0};
        struct dino_error err = {0};
        CHECK_OK(dn_dataset_read(dataset, (struct sample){0, i}, &image, &misses, &err), err);
        CHECK(misses.count == 0);
        for (int k = 0; k < image.width * image.height * 3; k++)
            sum = dn_splitmix64(sum ^ image.pixels[k]);
        dino_image_release(&image);
    }
    return sum;
}

TEST(lists_and_shards_are_read_the_same_compressed_or_not)
{
    static const char *const endings[] = {"tar", "tar.gz", "tar.zst"};
    struct dataset dataset;
    struct dino_error err = {0};
    const char *folder = draw_pictures("kinds", 6, 0);
    char tar[400], list[400];
    uint64_t sums[3] = {0};
    FILE *file;

    shell("tar -cf %s.tar -C %s sub 00.png 02.png", folder);
    shell("gzip -k %s.tar", folder);
    bool zst = system("command -v zstd >/dev/null") == 0;
    if (zst)
        shell("zstd -q %s.tar", folder);
    else
        print_message("no zstd here: .tar.zst was not tried\n");
    snprintf(list, sizeof list, "%s.txt", folder);
    CHECK((file = fopen(list, "w")));
    fprintf(file, "%s/04.png\n%s/sub/01.png\n", folder, folder);
    fclose(file);
    snprintf(list, sizeof list, "@%s.txt", folder);
    for (int i = 0; i < 2 + zst; i++) {
        snprintf(tar, sizeof tar, "%s.%s", folder, endings[i]);
        const char *paths[] = {list, tar};
        CHECK_OK(dn_dataset_open(&dataset, paths, 2, 0, &err), err);
        CHECK(dataset.count == 7);
        sums[i] = sum_of_pass(&dataset);
        CHECK(sums[i] == sums[0]);
        dn_dataset_close(&dataset);
    }
}

TEST(a_shard_that_cannot_be_unpacked_is_said_and_nothing_is_left)
{
    struct dataset dataset;
    struct dino_error err = {0};
    const char *folder = draw_pictures("packed", 3, 0);
    char tar[400];
    const char *path = tar;

    shell("tar -czf %s.tar.gz -C %s 00.png 02.png", folder);
    snprintf(tar, sizeof tar, "%s.tar.gz", folder);
    CHECK(setenv("TMPDIR", "/nowhere/at/all", 1) == 0);
    CHECK(!dn_dataset_open(&dataset, &path, 1, 0, &err));
    CHECK(strstr(err.message, "/nowhere/at/all"));
    CHECK(setenv("TMPDIR", testing_scratch(), 1) == 0);
    CHECK_OK(dn_dataset_open(&dataset, &path, 1, 0, &err), err);
    dn_dataset_close(&dataset);
    CHECK(unsetenv("TMPDIR") == 0);
    shell("! ls %s/../dino-shard-* 2>/dev/null", folder);
}
