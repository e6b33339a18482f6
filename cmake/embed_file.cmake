# cmake -DIN=file -DOUT=file.c -DSYMBOL=name -P embed_file.cmake
#
# Writes OUT, which defines SYMBOL as the bytes of IN and a 0x00 behind them.
# The bytes pass through as hexadecimal digits alone: reading a kernel as text and writing it by configure_file() would
# change it wherever it holds ; [ or ${}.
cmake_minimum_required(VERSION 3.22)

foreach(variable IN ITEMS "IN" "OUT" "SYMBOL")
  if(NOT DEFINED ${variable})
    message(FATAL_ERROR "embed_file.cmake: -D${variable}=... is missing")
  endif()
endforeach()

file(READ ${IN} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}") # 16 bytes a line
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
get_filename_component(name ${IN} NAME)
file(WRITE ${OUT}
"/* cl/${name}, written by cmake/embed_file.cmake. */
extern const unsigned char ${SYMBOL}[];

const unsigned char ${SYMBOL}[] = {
${bytes}
0x00};
")
