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
  if(PSGD_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${PSGD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${PSGD_SANITIZE})
  endif()
endfunction()
