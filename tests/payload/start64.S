/* SPDX-License-Identifier: Apache-2.0 */
/* Linux 64-bit entry: RSI has the zero page, RSP a stack. */
	.section .text.start, "ax"
	.globl _start
_start:
	mov	%rsi, %rdi
	xor	%ebp, %ebp
	call	guest_main
1:	cli
	hlt
	jmp	1b

	.section .note.GNU-stack, "", @progbits
