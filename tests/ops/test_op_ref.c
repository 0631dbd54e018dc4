/* The reference itself against numbers worked out by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "ops/testing_ops.h"

static struct queue *open_ref(struct device **device)
{
    struct dino_error err = {0};

    *device = dn_device_open("ref", DINO_F64, 0, &err);
    CHECK_OK(*device, err);
    return dn_queue_new(*device, 0, &err);
}

static void close_ref(struct device *device, struct queue *q)
{
    struct dino_error err = {0};

    CHECK_OK(dn_queue_finish(q, &err), err);
    dn_queue_free(q);
    dn_device_close(device);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(1, fabs(b));
}

TEST(linear_is_residual_plus_scale_times_gelu_of_x_w_plus_bias)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double x[] = {1, 2, 3, -1}, y[4], residual[] = {10, 20, 30, 40};
    float w[] = {1, 0.5F, -2, 1}, bias[] = {1, -1}, scale[] = {2, -3};
    struct weight *packed = device->ops->pack(device, dn_mat(w, 2, 2, DINO_F32), bias, NULL);
    struct op_linear op = {
        .y = dn_mat(y, 2, 2, DINO_F64), .x = dn_mat(x, 2, 2, DINO_F64), .w = packed};

    /* x w^T = [[1+1, -2+2], [3-0.5, -6-1]] */
    dn_linear(q, op);
    CHECK(y[0] == 3 && y[1] == -1 && y[2] == 3.5 && y[3] == -8);
    op.scale = scale;
    op.residual = dn_mat(residual, 2, 2, DINO_F64);
    dn_linear(q, op);
    CHECK(y[0] == 16 && y[1] == 23 && y[2] == 37 && y[3] == 64);
    op.residual = dn_mat(residual, 1, 2, DINO_F64);
    dn_linear(q, op);
    CHECK(y[0] == 16 && y[1] == 23 && y[2] == 17 && y[3] == 44);
    op.act = OP_GELU;
    op.scale = NULL;
    op.residual = (struct mat){0};
    dn_linear(q, op);
    CHECK(near(y[0], 2.99595030590511) && near(y[1], -0.158655253931457));
    device->ops->weight_free(device, packed);
    close_ref(device, q);
}

TEST(gelu_and_swiglu_have_their_known_values)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double x[] = {0, 1, -1, 2, 0, 1, 3, -5}, y[8];

    dn_gelu(q,
            (struct op_gelu){.y = dn_mat(y, 1, 4, DINO_F64), .x = dn_mat(x, 1, 4, DINO_F64)});
    CHECK(y[0] == 0 && near(y[1], 0.841344746068543) && near(y[2], -0.158655253931457) &&
          near(y[3], 1.95449973610364));
    /* columns 0 and 1 gate columns 2 and 3, in each of two rows */
    dn_swiglu(
        q, (struct op_swiglu){.y = dn_mat(y, 2, 2, DINO_F64), .x = dn_mat(x, 2, 4, DINO_F64)});
    CHECK(y[0] == 0 && near(y[1], 2 * 0.731058578630005) && y[2] == 0 &&
          near(y[3], -5 * 0.731058578630005));
    close_ref(device, q);
}

TEST(layernorm_has_mean_bias_and_biased_variance)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double x[] = {1, 3, 5, 7}, y[4];
    float weight[] = {1, 1, 2, 1}, bias[] = {0, 0, 0, 10};

    /* mean 4, variance 5, and eps 4 makes the divisor 3 */
    dn_layernorm(q, (struct op_layernorm){.y = dn_mat(y, 1, 4, DINO_F64),
                                          .x = dn_mat(x, 1, 4, DINO_F64),
                                          .weight = weight,
                                          .bias = bias,
                                          .eps = 4});
    CHECK(near(y[0], -1) && near(y[1], -1.0 / 3) && near(y[2], 2.0 / 3) && near(y[3], 11));
    close_ref(device, q);
}

/* One head of width 1: scores ln 1, ln 3 make weights 1/4 and 3/4. */
TEST(attention_weighs_values_by_softmax_of_scores)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double qkv[] = {2, 0, 8, 0, 0, 0, 4, 0, 0}, y[3], map[4];
    int starts[] = {0, 2, 3};

    qkv[4] = log(3) / 2 / 0.5; /* the second key; scale is 0.5 */
    qkv[5] = 16;
    qkv[8] = 5;
    dn_attend(q, (struct op_attend){.y = dn_mat(y, 3, 1, DINO_F64),
                                    .qkv = dn_mat(qkv, 3, 3, DINO_F64),
                                    .heads = 1,
                                    .scale = 0.5F,
                                    .starts = starts,
                                    .sequences = 2});
    /* the second query is 0: both weights 1/2; the third token is alone */
    CHECK(near(y[0], 14) && near(y[1], 12) && near(y[2], 5));
    dn_attention_map(q, (struct op_attention_map){.y = dn_mat(map, 2, 2, DINO_F64),
                                                  .qkv = dn_mat(qkv, 2, 3, DINO_F64),
                                                  .heads = 1,
                                                  .scale = 0.5F});
    CHECK(near(map[0], 0.25) && near(map[1], 0.75) && map[2] == 0.5 && map[3] == 0.5);
    close_ref(device, q);
}

TEST(heads_are_neighbouring_columns_of_each_third)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    /* two heads of width 1; columns q0 q1 k0 k1 v0 v1; scores 0 but for head 1, row 0 */
    double qkv[] = {0, 1, 0, 0, 1, 10, 0, 0, 0, 0, 3, 30}, y[4], map[8];
    int starts[] = {0, 2};

    qkv[9] = log(4);
    dn_attend(q, (struct op_attend){.y = dn_mat(y, 2, 2, DINO_F64),
                                    .qkv = dn_mat(qkv, 2, 6, DINO_F64),
                                    .heads = 2,
                                    .scale = 1,
                                    .starts = starts,
                                    .sequences = 1});
    CHECK(near(y[0], 2) && near(y[1], 26) && near(y[2], 2) && near(y[3], 20));
    dn_attention_map(q, (struct op_attention_map){.y = dn_mat(map, 4, 2, DINO_F64),
                                                  .qkv = dn_mat(qkv, 2, 6, DINO_F64),
                                                  .heads = 2,
                                                  .scale = 1});
    CHECK(map[0] == 0.5 && near(map[4], 0.2) && near(map[5], 0.8) && map[6] == 0.5);
    close_ref(device, q);
}

TEST(rows_are_placed_gathered_and_averaged)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double y[] = {0, 0, 0, 0}, x[] = {1, 2, 3, 4}, add[] = {10};
    int to[] = {3, 0}, from[] = {2, 1}, starts[] = {0, 3, 4};

    dn_put_rows(q, (struct op_put_rows){.y = dn_mat(y, 4, 1, DINO_F64),
                                        .x = dn_mat(x, 4, 1, DINO_F64),
                                        .add = dn_mat(add, 1, 1, DINO_F64),
                                        .to = to,
                                        .from = from,
                                        .count = 2});
    CHECK(y[0] == 12 && y[1] == 0 && y[2] == 0 && y[3] == 13);
    dn_mean_rows(q, (struct op_mean_rows){.y = dn_mat(y, 2, 1, DINO_F64),
                                          .x = dn_mat(x, 4, 1, DINO_F64),
                                          .starts = starts,
                                          .sequences = 2});
    CHECK(y[0] == 2 && y[1] == 4);
    starts[1] = 2;
    dn_mean_rows(q, (struct op_mean_rows){.y = dn_mat(y, 2, 1, DINO_F64),
                                          .x = dn_mat(x, 4, 1, DINO_F64),
                                          .starts = starts,
                                          .sequences = 2,
                                          .skip = 1});
    CHECK(y[0] == 2 && y[1] == 4);
    close_ref(device, q);
}

TEST(patches_are_channels_of_rows_of_columns)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    float planes[2 * 3 * 5];
    double y[2 * 8];

    for (int i = 0; i < 30; i++)
        planes[i] =
            (float)i; /* element (channel, row, column) is 15 channel + 5 row + column */
    struct op_picture picture = {.planes = planes, .height = 3, .width = 5};
    dn_patchify(q, (struct op_patchify){.y = dn_mat(y, 2, 8, DINO_F64),
                                        .pictures = &picture,
                                        .count = 1,
                                        .channels = 2,
                                        .patch = 2});
    static const double wanted[] = {0, 1, 5, 6, 15, 16, 20, 21, 2, 3, 7, 8, 17, 18, 22, 23};
    CHECK(memcmp(y, wanted, sizeof y) == 0);

    uint8_t pixels[] = {0, 128, 255};
    picture = (struct op_picture){.pixels = pixels,
                                  .height = 1,
                                  .width = 1,
                                  .mean = {0.5F, 0.25F, 0},
                                  .std = {0.5F, 0.5F, 2}};
    dn_patchify(q, (struct op_patchify){.y = dn_mat(y, 1, 3, DINO_F64),
                                        .pictures = &picture,
                                        .count = 1,
                                        .channels = 3,
                                        .patch = 1});
    CHECK(y[0] == -1 && y[1] == (128.0F / 255.0F - 0.25F) / 0.5F && y[2] == 0.5);
    close_ref(device, q);
}

TEST(tokens_are_class_registers_and_patches_with_positions)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double x[] = {1, 2, 3}, all[10] = {-1};
    const float cls = 10, registers[] = {20, 21}, one[] = {0.5F}, two[] = {0.25F, 0.125F};
    const float *positions[] = {one, two};
    const int starts[] = {1, 5, 10};

    dn_place_tokens(q, (struct op_place_tokens){.y = dn_mat(all, 10, 1, DINO_F64),
                                                .x = dn_mat(x, 3, 1, DINO_F64),
                                                .cls = &cls,
                                                .registers = registers,
                                                .positions = positions,
                                                .starts = starts,
                                                .count = 2,
                                                .register_count = 2});
    static const double wanted[] = {-1, 10, 20, 21, 1.5, 10, 20, 21, 2.25, 3.125};
    CHECK(memcmp(all, wanted, sizeof all) == 0);
    close_ref(device, q);
}

TEST(copies_round_once_to_even)
{
    struct device *device;
    struct queue *q = open_ref(&device);
    double x[] = {1 + 0x1p-8, 1 + 0x3p-8, 1e300, -2};
    uint16_t y[4];
    float back[4];

    dn_copy(q,
            (struct op_copy){.y = dn_mat(y, 1, 4, DINO_BF16), .x = dn_mat(x, 1, 4, DINO_F64)});
    dn_copy(q, (struct op_copy){.y = dn_mat(back, 1, 4, DINO_F32),
                                .x = dn_mat(y, 1, 4, DINO_BF16)});
    CHECK(back[0] == 1 && back[1] == 1 + 0x4p-8F && back[2] == INFINITY && back[3] == -2);
    close_ref(device, q);
}

TEST(the_reference_computes_f32_or_f64_and_nothing_else)
{
    struct dino_error err = {0};

    CHECK(!dn_device_open("ref", DINO_BF16, 0, &err));
    CHECK(err.code == DINO_EUNSUPPORTED);
    struct device *device = dn_device_open("ref", DINO_AUTO, 0, &err);
    CHECK(device && device->activation == DINO_F32 && device->threads == 1);
    CHECK(device->ops->kernel_name(device, "linear") && !device->ops->kernel_name(device, "x"));
    dn_device_close(device);
}
