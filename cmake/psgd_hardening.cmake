# What makes an exploit harder where a defect is left, at no price in a step: options of the compiler and of the linker, as far as
# these have them.
#
#   PSGD_HARDENING_COMPILE   options of every target
#   PSGD_HARDENING_LINK      options of every library and program that is linked
#   PSGD_HARDENING_TRACES    what of it can be seen in a file; the test lint_hardening looks for them
include(CheckCCompilerFlag)
include(CheckCSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)

set(PSGD_HARDENING_COMPILE "")
set(PSGD_HARDENING_LINK "")
set(PSGD_HARDENING_TRACES "")
if(NOT PSGD_HARDENING)
  return()
endif()

foreach(option stack-protector-strong stack-clash-protection cf-protection)
  string(MAKE_C_IDENTIFIER "PSGD_HAS_${option}" has)
  check_c_compiler_flag(-f${option} ${has})
  if(${has})
    list(APPEND PSGD_HARDENING_COMPILE -f${option})
  endif()
endforeach()
if(PSGD_HAS_stack_protector_strong)
  list(APPEND PSGD_HARDENING_TRACES protector)
endif()

# Checked string functions: in optimized code alone; they get in the way of sanitizers; and who builds a distribution has chosen.
if(NOT PSGD_SANITIZE AND NOT CMAKE_C_FLAGS MATCHES "_FORTIFY_SOURCE")
  foreach(level 3 2)
    set(CMAKE_REQUIRED_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level}")
    check_c_source_compiles("
      #include <string.h>
      #if !defined(__USE_FORTIFY_LEVEL) || __USE_FORTIFY_LEVEL < ${level}
      #error not supported
      #endif
      int main(void) { return 0; }" PSGD_HAS_FORTIFY_${level})
    unset(CMAKE_REQUIRED_FLAGS)
    if(PSGD_HAS_FORTIFY_${level})
      list(APPEND PSGD_HARDENING_COMPILE
        "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level}>")
      if(CMAKE_BUILD_TYPE MATCHES "^(Release|RelWithDebInfo|MinSizeRel)$")
        list(APPEND PSGD_HARDENING_TRACES fortify)
      endif()
      break()
    endif()
  endforeach()
endif()

# All symbols are bound at the start, after which the tables of their addresses are read-only; and no stack is executable.
foreach(option relro now noexecstack)
  check_linker_flag(C LINKER:-z,${option} PSGD_LINKS_Z_${option})
  if(PSGD_LINKS_Z_${option})
    list(APPEND PSGD_HARDENING_LINK LINKER:-z,${option})
    list(APPEND PSGD_HARDENING_TRACES ${option})
  endif()
endforeach()

# Programs lie at an address that differs from run to run.
check_pie_supported(LANGUAGES C)
if(CMAKE_C_LINK_PIE_SUPPORTED)
  list(APPEND PSGD_HARDENING_TRACES pie)
endif()
