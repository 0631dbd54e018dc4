# make install: the program, both libraries, the header, pkg-config and find_package files.
include(CMakePackageConfigHelpers)
set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dino)

configure_file(cmake/dino.pc.in dino.pc @ONLY)
configure_package_config_file(cmake/dinoConfig.cmake.in dinoConfig.cmake
    INSTALL_DESTINATION ${config_dir}
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(dinoConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS dino_shared EXPORT dinoTargets)
install(TARGETS dino_static)
install(EXPORT dinoTargets NAMESPACE dino:: DESTINATION ${config_dir})
install(FILES ${PROJECT_BINARY_DIR}/dinoConfig.cmake ${PROJECT_BINARY_DIR}/dinoConfigVersion.cmake
    DESTINATION ${config_dir})
install(FILES ${PROJECT_BINARY_DIR}/dino.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES include/dino.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET dino)
    install(TARGETS dino)
endif()
