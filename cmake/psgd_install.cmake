# What `cmake --install` puts where, for find_package(psgd) and for pkg-config.
#
#   psgd::psgd          the shared library
#   psgd::psgd_static   the static one           find_package(psgd COMPONENTS static)
#   psgd::mpi           its communicator over MPI   find_package(psgd COMPONENTS mpi)
#   psgd::mpi_static    the same, static         find_package(psgd COMPONENTS mpi static)
#
# One export set a library, so that a program finds only the dependencies of what it uses.
set(PSGD_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/psgd)

function(psgd_install_library target export_set)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")
  install(TARGETS ${target} EXPORT ${export_set}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ${export_set} NAMESPACE psgd:: DESTINATION ${PSGD_PACKAGE_DIR})
endfunction()

# ${prefix} of the .pc files is found from where they lie, so that the installed tree can be moved.
function(psgd_install_pkg_config name)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
    set(PSGD_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
    set(PSGD_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
    set(PSGD_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  else()
    file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
    string(REGEX REPLACE "/$" "" up ${up})
    set(PSGD_PC_PREFIX "\${pcfiledir}/${up}")
    set(PSGD_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(PSGD_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
  endif()
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

install(FILES include/psgd/psgd.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/psgd)
psgd_install_library(psgd_shared psgdTargets)
psgd_install_library(psgd_static psgdStaticTargets)
psgd_install_pkg_config(psgd)

if(PSGD_BUILD_MPI)
  set_target_properties(psgd_mpi_shared PROPERTIES EXPORT_NAME mpi)
  set_target_properties(psgd_mpi_static PROPERTIES EXPORT_NAME mpi_static)
  install(FILES include/psgd/psgd_mpi.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/psgd)
  psgd_install_library(psgd_mpi_shared psgdMpiTargets)
  psgd_install_library(psgd_mpi_static psgdMpiStaticTargets)

  # pkg-config has no name for "the MPI library": what CMake found is written out.
  set(PSGD_PC_MPI_CFLAGS "")
  foreach(directory IN LISTS MPI_C_INCLUDE_DIRS)
    string(APPEND PSGD_PC_MPI_CFLAGS " -I${directory}")
  endforeach()
  string(REPLACE ";" " " PSGD_PC_MPI_LIBS "${MPI_C_LIBRARIES}")
  psgd_install_pkg_config(psgd_mpi)
endif()

configure_package_config_file(cmake/psgdConfig.cmake.in ${PROJECT_BINARY_DIR}/psgdConfig.cmake
  INSTALL_DESTINATION ${PSGD_PACKAGE_DIR})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/psgdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/psgdConfig.cmake ${PROJECT_BINARY_DIR}/psgdConfigVersion.cmake
  DESTINATION ${PSGD_PACKAGE_DIR})

# The tools find the library beside their own directory, wherever the tree is.
file(RELATIVE_PATH PSGD_LIB_FROM_BIN ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
foreach(tool psgd-advise psgd-bench psgd-devicequery psgd-train)
  if(TARGET ${tool})
    set_target_properties(${tool} PROPERTIES INSTALL_RPATH "$ORIGIN/${PSGD_LIB_FROM_BIN}")
    install(TARGETS ${tool} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
