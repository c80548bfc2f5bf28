// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile.h"

const char linux_banner[] = BANNER;

const char *start_kernel(void)
{
	return linux_banner;
}
