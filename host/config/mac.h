/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_MAC_H
#define CONFIG_MAC_H

#include <stdbool.h>
#include <stdint.h>

#define MAC_TEXT_LEN 17 /* "06:00:ac:10:00:02" */

/* Six groups of two hexadecimal digits with ':' between them; false, and mac is not touched, if text is anything else. */
bool mac_parse(const char *text, uint8_t mac[6]) __attribute__((warn_unused_result));

#endif
