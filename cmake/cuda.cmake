# The device "cuda", a plug-in beside libdino: built where nvcc, a C++ compiler for it and
# cuBLASLt are, left out with a line elsewhere. One binary: machine code for Ampere and Hopper,
# PTX for what comes after them.
option(DINO_CUDA "Build the plug-in for NVIDIA GPUs where CUDA's toolkit is" ON)
if(NOT DINO_CUDA)
    return()
endif()

find_program(NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
find_program(NVCC_HOST NAMES g++ c++)
if(NVCC)
    get_filename_component(cuda_root ${NVCC} REALPATH)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    find_path(CUDA_INCLUDE cublasLt.h HINTS ${cuda_root}/include)
    find_library(CUDA_RUNTIME cudart_static HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
    find_library(CUDA_CUBLASLT cublasLt HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
endif()
if(NOT NVCC OR NOT NVCC_HOST OR NOT CUDA_INCLUDE OR NOT CUDA_RUNTIME OR NOT CUDA_CUBLASLT)
    message(STATUS "device cuda: left out (wanted nvcc, g++, libcudart_static and libcublasLt)")
    return()
endif()
message(STATUS "device cuda: ${NVCC}")

set(nvcc_flags -std=c++17 -O3 --fmad=false -I${PROJECT_SOURCE_DIR}/src
    -I${PROJECT_SOURCE_DIR}/include -ccbin ${NVCC_HOST}
    -Xcompiler -fPIC,-fvisibility=hidden,-fno-threadsafe-statics,-fno-exceptions
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90
    -gencode arch=compute_90,code=compute_90)
file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/compute/cuda/*.cu)
foreach(source ${cuda_kernels})
    get_filename_component(name ${source} NAME_WE)
    set(object ${PROJECT_BINARY_DIR}/${name}.cu.o)
    add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d
        COMMAND ${NVCC} ${nvcc_flags} -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
        COMMENT "Compiling kernels of ${name}.cu")
    list(APPEND cuda_objects ${object})
endforeach()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/compute/cuda/*.c)
add_library(dino_cuda MODULE ${cuda_sources} ${cuda_objects})
set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
target_include_directories(dino_cuda SYSTEM PRIVATE ${CUDA_INCLUDE})
target_link_libraries(dino_cuda PRIVATE dino_static ${CUDA_RUNTIME} ${CUDA_CUBLASLT} rt)
target_link_options(dino_cuda PRIVATE -Wl,--as-needed -Wl,--exclude-libs,ALL)
