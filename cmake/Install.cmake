# cmake --install: programs with the kernel libraries beside them, the C ABI, and the package megacc for find_package. The folder can be
# moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/megacc)

add_library(megacc_step_abi INTERFACE)
set_target_properties(megacc_step_abi PROPERTIES EXPORT_NAME step_abi)
target_include_directories(megacc_step_abi INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS megacc megacc-opt megacc-lsp-server megacc-reduce megacc-run megacc_step_abi EXPORT megaccTargets)
# megacc-run opens the kernels that lie beside it.
install(TARGETS megacc_cpu megacc_cpu_v4 LIBRARY DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET megacc_cuda)
  install(TARGETS megacc_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET megacc_mpi)
  install(TARGETS megacc_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY include/megacc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/share/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/share/bash-completion DESTINATION ${CMAKE_INSTALL_DATADIR})
install(FILES LICENSE docs/descriptor.md docs/plan.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT megaccTargets NAMESPACE megacc:: DESTINATION ${package_folder})
file(STRINGS include/megacc/StepABI.h MEGACC_ABI_VERSION REGEX "^#define MEGACC_ABI_VERSION ")
string(REGEX REPLACE "[^0-9]" "" MEGACC_ABI_VERSION "${MEGACC_ABI_VERSION}")
configure_package_config_file(cmake/megaccConfig.cmake.in ${PROJECT_BINARY_DIR}/megaccConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/megaccConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/megaccConfig.cmake ${PROJECT_BINARY_DIR}/megaccConfigVersion.cmake DESTINATION ${package_folder})
