#include "compute/cpu/cpu_onednn.h"

#include <stdlib.h>

layout dn_layout_new(int rows, int cols, ptrdiff_t row_stride, ptrdiff_t col_stride,
                     dnnl_data_type_t type)
{
    dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
#if DNNL_VERSION_MAJOR >= 3
    layout made = NULL;
    dnnl_memory_desc_create_with_strides(&made, 2, dims, type, strides);
#else
    layout made = malloc(sizeof *made);
    if (made &&
        dnnl_memory_desc_init_by_strides(made, 2, dims, type, strides) != dnnl_success) {
        free(made);
        made = NULL;
    }
#endif
    return made;
}

layout dn_layout_any(int rows, int cols, dnnl_data_type_t type)
{
    dnnl_dims_t dims = {rows, cols};
#if DNNL_VERSION_MAJOR >= 3
    layout made = NULL;
    dnnl_memory_desc_create_with_tag(&made, 2, dims, type, dnnl_format_tag_any);
#else
    layout made = malloc(sizeof *made);
    if (made && dnnl_memory_desc_init_by_tag(made, 2, dims, type, dnnl_format_tag_any) !=
                    dnnl_success) {
        free(made);
        made = NULL;
    }
#endif
    return made;
}

layout dn_layout_clone(const_layout from)
{
#if DNNL_VERSION_MAJOR >= 3
    layout made = NULL;
    dnnl_memory_desc_clone(&made, from);
#else
    layout made = malloc(sizeof *made);
    if (made)
        *made = *from;
#endif
    return made;
}

void dn_layout_free(layout l)
{
#if DNNL_VERSION_MAJOR >= 3
    if (l)
        dnnl_memory_desc_destroy(l);
#else
    free(l);
#endif
}

dnnl_status_t dn_plan_new(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, const_layout x,
                          const_layout w, const_layout bias, const_layout y,
                          const_dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(plan, engine, x, w, bias, y, attr);
#else
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, x, w, bias, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(plan, &desc, attr, engine, NULL)
                                  : status;
#endif
}

dnnl_status_t dn_append_gelu(dnnl_post_ops_t ops)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0, 0);
#else
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
#endif
}
