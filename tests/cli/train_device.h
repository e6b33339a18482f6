/* The device of a test of psgd-train's parts: opened before its tests, closed behind them. */
#ifndef PSGD_TESTS_CLI_TRAIN_DEVICE_H
#define PSGD_TESTS_CLI_TRAIN_DEVICE_H

#include "gpu.h"
#include "kernels.h"
#include "support/suite.h"
#include "tool_asserts.h"

static gpu_t gpu;

static void open_device(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;

    assert_ok(psgd_device_find(NULL, &info));
    assert_tool_ok(gpu_open(&info, &train_program, &gpu));
}

static void close_device(void)
{
    gpu_close(&gpu);
}

#endif
