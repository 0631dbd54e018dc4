/* What a run begins with: the official distributions, and the cosines for little data. */
#include "train/first_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"
#include "train/cosine_weights.h"

static double deviation(const float *x, size_t count)
{
    double square = 0;

    for (size_t i = 0; i < count; i++)
        square += (double)x[i] * (double)x[i];
    return sqrt(square / (double)count);
}

TEST(first_weights_are_as_the_official_code_draws_them)
{
    struct net_config net = {.dino = {384, 3, 256, 64, 512}};
    struct params_table table;
    struct dino_error err = {0};
    const struct {
        const char *name;
        double value, slack;
    } wanted[] = {
        {"backbone.cls_token", 1e-6, 2e-7},
        {"backbone.pos_embed", 0.02, 2e-4},
        {"backbone.mask_token", 0, 0},
        {"backbone.patch_embed.proj.weight", 1 / sqrt(3 * 588), 2e-4}, /* of a uniform */
        {"backbone.blocks.1.attn.qkv.weight", 0.02, 1e-4},
        {"backbone.blocks.1.attn.qkv.bias", 0, 0},
        {"backbone.blocks.0.ls1.gamma", 1e-5, 1e-12},
        {"backbone.norm.weight", 1, 0},
        {"dino_head.mlp.2.weight", 0.02, 2e-4},
        {"dino_head.last_layer.weight_g", 1, 0},
        {"dino_head.last_layer.weight_v", 1 / sqrt(3 * 64), 1e-3},
    };

    CHECK_OK(dn_vit_config_named(&net.backbone, "vits14", &err), err);
    net.backbone.depth = 2;
    CHECK_OK(dn_params_table_init(&table, &net, &err), err);
    float *one = calloc(table.elements, sizeof *one),
          *two = calloc(table.elements, sizeof *two);
    dn_first_weights(&table, 1e-5, 1, one);
    dn_first_weights(&table, 1e-5, 1, two);
    CHECK(memcmp(one, two, table.elements * sizeof *one) == 0);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int item = dn_params_find(&table, wanted[i].name);
        CHECK(item >= 0);
        const struct param_slice *p = &table.items[item];
        if (!(fabs(deviation(one + p->first, p->count) - wanted[i].value) <= wanted[i].slack))
            fail_msg("%s: %g", p->name, deviation(one + p->first, p->count));
    }
    dn_first_weights(&table, 1e-5, 2, two);
    CHECK(memcmp(one, two, table.elements * sizeof *one) != 0);
    free(one);
    free(two);
    dn_params_table_release(&table);
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

TEST(cosine_filters_see_different_things_and_positions_differ)
{
    struct net_config net = {.dino = {128, 3, 64, 64, 128}};
    struct params_table table;
    struct dino_error err = {0};
    enum { PIXELS = 3 * 14 * 14 };

    CHECK_OK(dn_vit_config_named(&net.backbone, "vits14", &err), err);
    net.backbone.dim = 128;
    net.backbone.heads = 2;
    net.backbone.hidden = 512;
    net.backbone.depth = 1;
    CHECK_OK(dn_params_table_init(&table, &net, &err), err);
    float *values = calloc(table.elements, sizeof *values);
    dn_cosine_weights(&table, values);
    const struct param_slice *p =
        &table.items[dn_params_find(&table, "backbone.patch_embed.proj.weight")];
    const float *filter = values + p->first;
    for (size_t i = 0; i < 128; i++)
        for (size_t j = 0; j <= i; j++) {
            double ii = dot(filter + i * PIXELS, filter + i * PIXELS, PIXELS);
            double ij = dot(filter + i * PIXELS, filter + j * PIXELS, PIXELS);
            double jj = dot(filter + j * PIXELS, filter + j * PIXELS, PIXELS);
            CHECK(ii > 0 && (i == j || fabs(ij) < 1e-5 * sqrt(ii * jj)));
        }
    p = &table.items[dn_params_find(&table, "backbone.pos_embed")];
    const float *position = values + p->first;
    CHECK(dot(position, position, 128) == 0); /* of the class token */
    for (size_t i = 1; i < p->count / 128; i++)
        for (size_t j = 1; j < i; j++) {
            const float *a = position + i * 128, *b = position + j * 128;
            CHECK(dot(a, b, 128) < 0.99 * sqrt(dot(a, a, 128) * dot(b, b, 128)));
        }
    free(values);
    dn_params_table_release(&table);
}
