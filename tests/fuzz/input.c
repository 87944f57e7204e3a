// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

bool fuzz_done(const struct fuzz_input *in)
{
	return in->len == 0;
}

uint64_t fuzz_number(struct fuzz_input *in, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes && in->len > 0; i++) {
		value |= (uint64_t)*in->data++ << 8 * i;
		in->len--;
	}
	return value;
}

uint64_t fuzz_value(struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);

	switch (kind >> 5) {
	case 0:
		return fuzz_u16(in);
	case 1:
		return fuzz_u32(in);
	case 2:
		return fuzz_number(in, 8);
	case 3:
		return 1ull << (kind & 31) << (fuzz_u8(in) & 32);
	case 4:
		return ~0ull >> (kind & 31) >> (fuzz_u8(in) & 32);
	default:
		return kind & 31;
	}
}

const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t max, size_t *len)
{
	const uint8_t *data = in->data;

	*len = in->len < max ? in->len : max;
	in->data += *len;
	in->len -= *len;
	return data;
}

void fuzz_file_init(struct fuzz_file *file, const void *data, size_t len)
{
	file->fd = memfd_create("fuzz", MFD_CLOEXEC);
	fuzz_expect(file->fd >= 0);
	fuzz_expect(write(file->fd, data, len) == (ssize_t)len);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

void fuzz_file_fini(struct fuzz_file *file)
{
	close(file->fd);
}
