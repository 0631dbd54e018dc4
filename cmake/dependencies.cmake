# Every library that libdino stands on. DINO_LIBRARIES links it here; DINO_LINK_FLAGS are the
# same as plain linker flags, for those who link the static library from outside CMake.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(PkgConfig REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp libwebpdemux)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(MINIZIP REQUIRED IMPORTED_TARGET minizip)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
find_package(dnnl REQUIRED) # oneDNN 2.6 and later, 3.x
find_library(LAPACKE_LIBRARY lapacke REQUIRED)
find_library(BLAS_LIBRARY NAMES openblas blas REQUIRED)

set(DINO_LIBRARIES OpenMP::OpenMP_C Threads::Threads JPEG::JPEG PNG::PNG ZLIB::ZLIB
    PkgConfig::WEBP PkgConfig::JANSSON PkgConfig::MINIZIP PkgConfig::ARCHIVE PkgConfig::YAML DNNL::dnnl
    ${LAPACKE_LIBRARY} ${BLAS_LIBRARY} ${CMAKE_DL_LIBS} m)
set(DINO_LINK_FLAGS ${OpenMP_C_FLAGS} -pthread -ljpeg -lpng -lwebpdemux -lwebp -ljansson -lminizip
    -lz -larchive -lyaml -ldnnl -llapacke -lopenblas -ldl -lm)
# A oneDNN outside the system's folders is named by its folder.
get_target_property(dnnl_configurations DNNL::dnnl IMPORTED_CONFIGURATIONS)
list(GET dnnl_configurations 0 dnnl_configuration)
get_target_property(dnnl_file DNNL::dnnl IMPORTED_LOCATION_${dnnl_configuration})
get_filename_component(dnnl_folder ${dnnl_file} DIRECTORY)
if(NOT dnnl_folder IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    list(PREPEND DINO_LINK_FLAGS -L${dnnl_folder})
endif()
list(JOIN DINO_LINK_FLAGS " " DINO_LINK_LINE)

pkg_check_modules(CURL IMPORTED_TARGET libcurl) # `dino get`, optional
find_package(MPI COMPONENTS C) # training by many processes, optional
