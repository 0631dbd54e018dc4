# tests/KIND/test_NAME.c is one cmocka program (see tests/testing.h), tests/KIND/test_NAME.sh
# one script; KIND is its label. Scripts get SOURCE_DIR, BUILD_DIR, DINO and CC, and skip
# with exit status 77.
enable_testing()
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

add_library(dino_testing STATIC ${PROJECT_SOURCE_DIR}/tests/testing.c
    ${PROJECT_SOURCE_DIR}/tests/testing_tensor.c ${PROJECT_SOURCE_DIR}/tests/ops/testing_ops.c
    ${PROJECT_SOURCE_DIR}/tests/ops/testing_mirror.c)
target_include_directories(dino_testing PUBLIC ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(dino_testing PUBLIC SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    BUILD_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(dino_testing PUBLIC dino_static PkgConfig::CMOCKA)

# The device "cuda" without a GPU: its kernels compiled as C and run on the processor, over an
# emulated runtime. A plug-in like the real one, opened by tests that run with cuda_environment.
file(GLOB emulated_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/compute/cuda/*.c
    ${PROJECT_SOURCE_DIR}/src/compute/cuda/*.cu ${PROJECT_SOURCE_DIR}/tests/emulate/*.c)
list(FILTER emulated_sources EXCLUDE REGEX "cublaslt")
set(kernel_sources ${emulated_sources})
list(FILTER kernel_sources INCLUDE REGEX "\\.cu$")
add_library(dino_cuda_emulated MODULE ${emulated_sources})
set_source_files_properties(${kernel_sources} PROPERTIES LANGUAGE C
    COMPILE_OPTIONS "-include;${PROJECT_SOURCE_DIR}/tests/emulate/emulate.h")
target_include_directories(dino_cuda_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/emulate)
target_link_libraries(dino_cuda_emulated PRIVATE dino_static)
set_target_properties(dino_cuda_emulated PROPERTIES OUTPUT_NAME dino_cuda
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/emulated)
# NCCL between processes with an emulated GPU each; DINO_NCCL names it.
add_library(nccl_emulated MODULE ${PROJECT_SOURCE_DIR}/tests/emulate/nccl/emulate_nccl.c)
target_include_directories(nccl_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/emulate)
target_compile_options(nccl_emulated PRIVATE -Wno-missing-prototypes) # NCCL's names, no header
set_target_properties(nccl_emulated PROPERTIES C_VISIBILITY_PRESET default
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/emulated)
set(cuda_environment DINO_TEST_DEVICE=cuda DINO_PLUGINS=${PROJECT_BINARY_DIR}/emulated)

# Two test programs at once on two cores: idle threads must sleep, not spin.
set(test_environment OMP_WAIT_POLICY=passive
    ASAN_OPTIONS=allocator_may_return_null=1 SOURCE_DIR=${PROJECT_SOURCE_DIR}
    BUILD_DIR=${PROJECT_BINARY_DIR} CC=${CMAKE_C_COMPILER} USER_FLAGS=${CMAKE_C_FLAGS}
    DINO=${PROJECT_BINARY_DIR}/dino)

file(GLOB test_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/test_*.c)
foreach(source ${test_sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE dino_testing)
    add_test(NAME ${name} COMMAND ${name})
    list(APPEND test_files ${source})
endforeach()

file(GLOB test_scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/test_*.sh)
foreach(source ${test_scripts})
    get_filename_component(name ${source} NAME_WE)
    add_test(NAME ${name} COMMAND sh ${source})
    list(APPEND test_files ${source})
endforeach()

foreach(source ${test_files})
    get_filename_component(name ${source} NAME_WE)
    get_filename_component(kind ${source} DIRECTORY)
    get_filename_component(kind ${kind} NAME)
    set_tests_properties(${name} PROPERTIES LABELS ${kind} TIMEOUT 600 SKIP_RETURN_CODE 77
        ENVIRONMENT "${test_environment}")

    # Operations again under each cap of the instruction set; they skip what the machine lacks.
    if(kind STREQUAL ops AND NOT name STREQUAL test_op_ref)
        foreach(isa c avx2 avx512 avx512bf16 amx)
            add_test(NAME ${name}_${isa} COMMAND ${name})
            set_tests_properties(${name}_${isa} PROPERTIES LABELS ${kind} TIMEOUT 600
                ENVIRONMENT "${test_environment};DINO_ISA=${isa}")
        endforeach()
    endif()

    # Tests whose device can be chosen, on the emulated GPU.
    if(name MATCHES "^test_(op_linear|op_attend|op_rows|op_points|op_device|op_train|tiny_models|train_step|run)$")
        add_test(NAME ${name}_cuda COMMAND ${name})
        set_tests_properties(${name}_cuda PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment};${cuda_environment}")
    endif()
    if(name STREQUAL "test_train_together") # in f32; bf16 beside a GPU takes the same time again
        add_test(NAME ${name}_cuda COMMAND ${name} a_hundred_steps_in_f32_stay_together)
        add_test(NAME ${name}_f16 COMMAND ${name}
            forty_steps_in_f16_stay_with_f32_and_one_overflow_leaves_out_one_step)
        add_test(NAME ${name}_graphs COMMAND ${name}
            steady_steps_are_replayed_but_for_what_masks_decide)
        set_tests_properties(${name}_cuda ${name}_f16 ${name}_graphs PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            ENVIRONMENT "${test_environment};${cuda_environment}")
    endif()
    if(name STREQUAL "test_run_memory")
        add_test(NAME ${name}_cuda COMMAND ${name} a_gpu_takes_what_was_planned)
        set_tests_properties(${name}_cuda PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            ENVIRONMENT "${test_environment};${cuda_environment}")
    endif()
    if(name STREQUAL "test_op_linear") # where the library of products has no factors
        add_test(NAME ${name}_without_scale COMMAND ${name} every_epilogue_agrees_with_the_reference)
        set_tests_properties(${name}_without_scale PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            ENVIRONMENT "${test_environment};${cuda_environment};DINO_EMULATE=without-scale")
    endif()
    if(name STREQUAL "test_embed") # the job whose batches, rows and skips can go wrong where runs overlap
        add_test(NAME ${name}_cuda COMMAND ${name}
            a_stopped_job_resumes_to_the_same_bytes_and_the_same_sidecar)
        set_tests_properties(${name}_cuda PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            ENVIRONMENT "${test_environment};${cuda_environment}")
    endif()
    if(name MATCHES "^test_(op_linear|op_rows|op_device|train_ops|train_loss|train_net)$") # as on a GPU with memory of its own
        add_test(NAME ${name}_mirror COMMAND ${name})
        set_tests_properties(${name}_mirror PROPERTIES LABELS "${kind};cuda" TIMEOUT 600
            ENVIRONMENT "${test_environment};${cuda_environment};DINO_TEST_MIRROR=1")
    endif()
endforeach()

# The program's cases: tests/cli/cases/NAME.sh beside what it must print; see tests/cli/run.sh.
if(TARGET dino)
    add_executable(range_server ${PROJECT_SOURCE_DIR}/tests/cli/range_server.c)
    file(GLOB cases CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cli/cases/*.sh)
    foreach(source ${cases})
        get_filename_component(name ${source} NAME_WE)
        add_test(NAME cli_${name} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/cli/run.sh ${source})
        set(labels cli)
        if(name MATCHES "_cuda$")
            set(labels "cli;cuda")
        endif()
        set_tests_properties(cli_${name} PROPERTIES LABELS "${labels}" TIMEOUT 120 SKIP_RETURN_CODE 77
            ENVIRONMENT "${test_environment}")
    endforeach()
endif()

# Each example is a program of its own over dino.h; tests/examples checks what they print.
file(GLOB example_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
foreach(source ${example_sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(example_${name} ${source})
    set_target_properties(example_${name} PROPERTIES OUTPUT_NAME ${name}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
    target_link_libraries(example_${name} PRIVATE dino_static)
endforeach()

# Pictures for the demonstration, the tests and training, where photographs may not lie.
foreach(name draw render)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/${name}*.c)
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE dino_static)
endforeach()
