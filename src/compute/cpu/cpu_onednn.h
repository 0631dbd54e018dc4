/*
 * The few calls in which the C APIs of oneDNN 2.x and 3.x differ, under one name each. 3.x
 * keeps a description of memory behind a handle, 2.x has a struct; here it is a handle.
 */
#ifndef COMPUTE_CPU_ONEDNN_H
#define COMPUTE_CPU_ONEDNN_H

#include <dnnl.h>
#include <stddef.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t const_layout;
#else
typedef dnnl_memory_desc_t *layout;
typedef const dnnl_memory_desc_t *const_layout;
#endif

/* [rows, cols] with element (r, c) at r * row_stride + c * col_stride. NULL on failure. */
layout dn_layout_new(int rows, int cols, ptrdiff_t row_stride, ptrdiff_t col_stride,
                     dnnl_data_type_t type);
/* [rows, cols] in whatever order oneDNN likes best. */
layout dn_layout_any(int rows, int cols, dnnl_data_type_t type);
layout dn_layout_clone(const_layout from);
void dn_layout_free(layout l);

/* y = x . w + bias; bias may be NULL */
dnnl_status_t dn_plan_new(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, const_layout x,
                          const_layout w, const_layout bias, const_layout y,
                          const_dnnl_primitive_attr_t attr);
/* Exact GELU behind the sum; its erf is good to 1.5e-7. */
dnnl_status_t dn_append_gelu(dnnl_post_ops_t ops);

#endif
