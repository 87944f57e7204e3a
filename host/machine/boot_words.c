// SPDX-License-Identifier: Apache-2.0
/*
 * Words of boot_args that would leave the guest without interrupts.
 *
 * The IOAPIC is the only controller that devices are connected to, and Linux with hardware-reduced ACPI, which is what our
 * firmware tables say, has no driver for the 8259 either. Told to do without the IOAPIC it boots into its first device
 * driver and dies there: the interrupt that the driver asks for does not exist. firectl gives "noapic" by default, from a
 * time when microVMs had no ACPI, so such words are left out, and the log says so.
 */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "machine/internal.h"

static const struct {
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

static void write_word(FILE *f, const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(boot_words); i++) {
		const char *instead = boot_words[i].instead;

		if (strlen(boot_words[i].word) != len || memcmp(boot_words[i].word, word, len) != 0)
			continue;
		log_warn("boot_args: \"%s\" is %s%s: without an IOAPIC the guest would have no interrupts",
			 boot_words[i].word, instead ? "replaced by " : "left out", instead ? instead : "");
		if (instead)
			fputs(instead, f);
		return;
	}
	fwrite(word, 1, len, f);
}

void machine_write_boot_words(FILE *f, const char *args, size_t len)
{
	while (len > 0) {
		size_t n = word_len(args, len);

		if (n == 0)
			fputc(args[n++], f);
		else
			write_word(f, args, n);
		args += n;
		len -= n;
	}
}
