# What every target of this project is compiled with: per target, never globally.

# Options that hold for all C code here. Contraction stays off: what must be equal on all workers is written as explicit
# fma(), and nothing else may be fused behind our back.
function(psgd_target_defaults target)
  target_compile_features(${target} PRIVATE c_std_11)
  set_target_properties(${target} PROPERTIES C_EXTENSIONS OFF C_VISIBILITY_PRESET hidden)
  target_compile_definitions(${target} PRIVATE CL_TARGET_OPENCL_VERSION=120)
  target_compile_options(${target} PRIVATE
    -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef)
  if(PSGD_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  psgd_target_harden(${target})
  psgd_target_sanitize(${target})
endfunction()

# psgd_hardening.cmake. Code that may lie anywhere makes a program that may, too.
function(psgd_target_harden target)
  target_compile_options(${target} PRIVATE ${PSGD_HARDENING_COMPILE})
  target_link_options(${target} PRIVATE ${PSGD_HARDENING_LINK})
  if(PSGD_HARDENING)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  endif()
endfunction()

# The sanitizers of PSGD_SANITIZE, where there are any.
function(psgd_target_sanitize target)
  if(PSGD_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${PSGD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${PSGD_SANITIZE})
  endif()
endfunction()

# With PSGD_COVERAGE: counts which lines and branches of this target run, in threads too.
function(psgd_target_count_coverage target)
  if(PSGD_COVERAGE)
    target_compile_options(${target} PRIVATE --coverage -fprofile-update=atomic)
  endif()
endfunction()

# A library that others link: lib<output_name>, its version, and where its headers are, built and installed.
function(psgd_library_target target output_name)
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${output_name} VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  psgd_target_harden(${target})
  psgd_target_sanitize(${target})
  if(PSGD_COVERAGE)
    target_link_options(${target} PUBLIC --coverage)
  endif()
  # What the library needs, it names; a sanitizer's runtime comes with the program.
  if(UNIX AND NOT APPLE AND NOT PSGD_SANITIZE)
    target_link_options(${target} PRIVATE LINKER:--no-undefined)
  endif()
endfunction()
