// SPDX-License-Identifier: Apache-2.0
/*
 * Words of boot_args that would leave the guest without interrupts.
 *
 * The IOAPIC is the only controller that devices are connected to, and Linux with hardware-reduced ACPI, which is what our
 * firmware tables say, has no driver for the 8259 either. Told to do without the IOAPIC it boots into its first device
 * driver and dies there: the interrupt that the driver asks for does not exist. firectl gives "noapic" by default, from a
 * time when microVMs had no ACPI, so such words are left out, and the log says so.
 */
#include "arch/x86_64/boot.h"

#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

static const struct boot_word {
	const char *word;
	const char *instead; /* NULL: nothing */
} boot_words[] = {
	{ "noapic", NULL },	      /* no IOAPIC */
	{ "nosmp", "maxcpus=1" },     /* one processor, and no IOAPIC */
	{ "maxcpus=0", "maxcpus=1" }, /* the same */
	{ "nolapic", NULL },	      /* no local APIC, so no IOAPIC */
	{ "disableapic", NULL },      /* the same */
};

/* Of the word at text: up to a space that stands in no quotes, as Linux has it. */
static size_t word_len(const char *text, size_t len)
{
	bool quoted = false;
	size_t n;

	for (n = 0; n < len && (quoted || !isspace((unsigned char)text[n])); n++)
		quoted ^= text[n] == '"';
	return n;
}

/* The row for a word, or NULL: it means no harm. */
static const struct boot_word *find_word(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(boot_words); i++) {
		if (strlen(boot_words[i].word) == len && memcmp(boot_words[i].word, word, len) == 0)
			return &boot_words[i];
	}
	return NULL;
}

void boot_words_print(FILE *f, const char *args, size_t len)
{
	while (len > 0) {
		size_t n = word_len(args, len);
		const struct boot_word *found = find_word(args, n);

		if (n == 0)
			fputc(args[n++], f); /* a space */
		else if (!found)
			fwrite(args, 1, n, f);
		else if (found->instead)
			fputs(found->instead, f);
		args += n;
		len -= n;
	}
}

void boot_words_warn(const char *args)
{
	const char *init_args = strstr(args, " -- ");
	const char *end = init_args ? init_args : args + strlen(args);

	while (args < end) {
		size_t n = word_len(args, (size_t)(end - args));
		const struct boot_word *found = find_word(args, n);

		if (found)
			log_warn("boot_args: \"%s\" is %s%s: without an IOAPIC the guest would have no interrupts",
				 found->word, found->instead ? "replaced by " : "left out",
				 found->instead ? found->instead : "");
		args += n ? n : 1;
	}
}
