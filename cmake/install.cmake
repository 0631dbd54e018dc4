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
set_target_properties(dino_shared PROPERTIES INSTALL_RPATH "$ORIGIN")
if(TARGET dino_cuda)
    install(TARGETS dino_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET dino_mpi)
    install(TARGETS dino_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(EXPORT dinoTargets NAMESPACE dino:: DESTINATION ${config_dir})
install(FILES ${PROJECT_BINARY_DIR}/dinoConfig.cmake ${PROJECT_BINARY_DIR}/dinoConfigVersion.cmake
    DESTINATION ${config_dir})
install(FILES ${PROJECT_BINARY_DIR}/dino.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES include/dino.h include/dino_train.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY models/dino-tiny DESTINATION ${CMAKE_INSTALL_DATADIR}/dino/models)

# The program writes its own manual page and shell completions.
if(TARGET dino)
    set(pages ${PROJECT_BINARY_DIR}/pages)
    file(MAKE_DIRECTORY ${pages})
    add_custom_command(OUTPUT ${pages}/dino.1 DEPENDS dino COMMENT "Writing the manual"
        COMMAND dino help --man > ${pages}/dino.1
        COMMAND dino help --completion bash > ${pages}/dino
        COMMAND dino help --completion zsh > ${pages}/_dino
        COMMAND dino help --completion fish > ${pages}/dino.fish)
    add_custom_target(pages ALL DEPENDS ${pages}/dino.1)
    set_target_properties(dino PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    install(TARGETS dino)
    install(FILES ${pages}/dino.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${pages}/dino DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${pages}/_dino DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${pages}/dino.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
