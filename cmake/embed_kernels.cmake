# Builds files into a library as byte arrays, so that it needs no kernel files at run time.

# psgd_embed_kernels(target directory file...)
#
# For each file of `directory` a C file with its bytes, made again when the file changes, and "kernel_table.h" with a row
# for each: PSGD_KERNEL_TABLE(ROW), ROW("random.clh", random_clh). src/device/sources.c makes the table of it.
function(psgd_embed_kernels target directory)
  set(out_dir ${CMAKE_CURRENT_BINARY_DIR}/kernels)
  set(script ${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake)
  set(generated "")
  set(rows "")
  foreach(file IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER ${file} symbol)
    add_custom_command(
      OUTPUT ${out_dir}/${symbol}.c
      COMMAND ${CMAKE_COMMAND} -DIN=${directory}/${file} -DOUT=${out_dir}/${symbol}.c -DSYMBOL=psgd_kernel_${symbol}
              -P ${script}
      DEPENDS ${directory}/${file} ${script}
      COMMENT "Embedding ${file}"
      VERBATIM)
    list(APPEND generated ${out_dir}/${symbol}.c)
    string(APPEND rows " \\\n    ROW(\"${file}\", ${symbol})")
  endforeach()
  file(GENERATE OUTPUT ${out_dir}/kernel_table.h CONTENT
"/* The embedded kernels; written by cmake/embed_kernels.cmake. */
#define PSGD_KERNEL_TABLE(ROW)${rows}
")
  # The target may belong to another directory, where these rules are not known: hence a target of their own.
  add_custom_target(${target}_kernels DEPENDS ${generated})
  add_dependencies(${target} ${target}_kernels)
  target_sources(${target} PRIVATE ${generated})
  target_include_directories(${target} PRIVATE ${out_dir})
endfunction()
