/* SPDX-License-Identifier: Apache-2.0 */
/* Entered by the PVH protocol, in 32-bit protected mode: says so, prints the command line, and resets the machine. */
#include "ports.h"

#define START_INFO_MAGIC   0x336ec578
#define START_INFO_CMDLINE 24

	.section .note.Xen, "a", @note
	.align	4
	.long	2f - 1f
	.long	4f - 3f
	.long	18			/* XEN_ELFNOTE_PHYS32_ENTRY */
1:	.asciz	"Xen"
2:	.align	4
3:	.long	pvh_start
4:	.align	4

	.section .text.start, "ax"
	.globl _start
_start:					/* the 64-bit entry point, which must not be taken */
	ud2

	.code32
pvh_start:
	mov	$0x8000, %esp
	cmpl	$START_INFO_MAGIC, (%ebx)
	jne	1f
	mov	$PAYLOAD_CONSOLE_PORT, %edx
	mov	$hello, %esi
	mov	$hello_end - hello, %ecx
	rep outsb			/* one exit with a count */
	mov	START_INFO_CMDLINE(%ebx), %esi
2:	lodsb
	test	%al, %al
	jz	1f
	outb	%al, %dx
	jmp	2b
1:	mov	$PAYLOAD_RESET_VALUE, %al
	outb	%al, $PAYLOAD_RESET_PORT
3:	hlt
	jmp	3b

	.section .rodata
hello:	.ascii	"protected mode\n"
hello_end:

	.section .note.GNU-stack, "", @progbits
