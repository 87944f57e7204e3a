/* SPDX-License-Identifier: Apache-2.0 */
/* What a list of rules is written with: sandbox/rules.c and arch/<architecture>/rules.c. */
#ifndef SANDBOX_RULE_MACROS_H
#define SANDBOX_RULE_MACROS_H

#include <stdint.h>
#include <sys/ioctl.h>

#include "sandbox/rules.h"

#define INT_MASK 0xffffffffu

/* Argument number arg is this int; has none of these bits; has these values in these bits. */
#define IS(arg, value)		 SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, INT_MASK, (uint32_t)(value))
#define LACKS(arg, bits)	 SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint32_t)(bits), 0)
#define MASKED(arg, bits, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint32_t)(bits), (uint32_t)(value))

/* Conditions are kept as they are written, too: what mkjson.c says of a number is its name here. */
#define CALL(where, name, why)                                      \
	{                                                           \
		where, 0, #name, SCMP_SYS(name), 0, { { 0 } }, why, \
		{                                                   \
			0                                           \
		}                                                   \
	}
#define CALL1(where, name, a, why)                              \
	{                                                       \
		where, 0, #name, SCMP_SYS(name), 1, { a }, why, \
		{                                               \
#a                                      \
		}                                               \
	}
#define CALL2(where, name, a, b, why)                              \
	{                                                          \
		where, 0, #name, SCMP_SYS(name), 2, { a, b }, why, \
		{                                                  \
#a, #b                                     \
		}                                                  \
	}
#define FAIL(where, name, error, why)                                   \
	{                                                               \
		where, error, #name, SCMP_SYS(name), 0, { { 0 } }, why, \
		{                                                       \
			0                                               \
		}                                                       \
	}
#define IOCTL(where, request, why)                                              \
	{                                                                       \
		where, 0, "ioctl", SCMP_SYS(ioctl), 1, { IS(1, request) }, why, \
		{                                                               \
			"IS(1, " #request ")"                                   \
		}                                                               \
	}

/* A reason. The monitor is linked to musl. */
#define GLIBC "a monitor that is linked to glibc, as a build without tools/static-libs is"

#define SETUP	RULE_SETUP
#define LOOP	RULE_LOOP
#define VCPU	RULE_VCPU
#define IO	RULE_IO
#define STREAM	RULE_STREAM
#define SOCKETS RULE_SOCKETS
#define AHEAD	RULE_AHEAD
#define ALL	RULE_ALL
#define OTHER	(RULE_VCPU | RULE_IO | RULE_STREAM | RULE_AHEAD)

#define CRASH "the handler of a fatal signal puts the terminal right; tcsetattr(3) reads what it has set"

#endif
