// SPDX-License-Identifier: Apache-2.0
/*
 * Prints docs/openapi.yaml (OpenAPI 3.0), from the tables that the monitor
 * itself works with. tests/lint/openapi tells when the file in the repository
 * is not what this prints; tests/system/test_api.py holds real answers against
 * it.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "resource/resource.h"
#include "vmm/endpoint.h"
#include "vmm/vmm.h"

static void print_object(const struct field_table *table, bool partial, int indent);

/* A YAML scalar in double quotes. Our own texts hold nothing else that YAML would take for an escape. */
static void print_text(int indent, const char *key, const char *text)
{
	printf("%*s%s: \"", indent, "", key);
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	printf("\"\n");
}

static void print_names(const struct field *f, int indent)
{
	printf("%*stype: string\n%*senum: [", indent, "", indent, "");
	for (unsigned int i = 0; f->names && f->names[i]; i++)
		printf("%s\"%s\"", i ? ", " : "", f->names[i]);
	printf("]\n");
}

static void print_default(const struct field *f, const void *defaults, int indent)
{
	const char *at;

	if (!defaults || f->flags & FIELD_REQUIRED)
		return;
	at = (const char *)defaults + f->offset;
	if (f->type == FIELD_BOOL)
		printf("%*sdefault: %s\n", indent, "", *(const bool *)at ? "true" : "false");
	else if (f->type == FIELD_ENUM)
		printf("%*sdefault: \"%s\"\n", indent, "", f->names[*(const unsigned int *)at]);
}

static void print_type(const struct field *f, int indent)
{
	switch (f->type) {
	case FIELD_STRING:
		printf("%*stype: string\n", indent, "");
		if (f->min)
			printf("%*sminLength: %llu\n", indent, "", (unsigned long long)f->min);
		if (f->max)
			printf("%*smaxLength: %llu\n", indent, "", (unsigned long long)f->max);
		break;
	case FIELD_BOOL:
		printf("%*stype: boolean\n", indent, "");
		break;
	case FIELD_U32:
	case FIELD_U64:
		printf("%*stype: integer\n%*sformat: int64\n", indent, "", indent, "");
		printf("%*sminimum: %llu\n%*smaximum: %llu\n", indent, "", (unsigned long long)f->min, indent, "",
		       (unsigned long long)f->max);
		break;
	case FIELD_ENUM:
		print_names(f, indent);
		break;
	case FIELD_STRINGS:
		printf("%*stype: array\n%*sminItems: %llu\n%*smaxItems: %llu\n%*sitems: {type: string}\n", indent, "",
		       indent, "", (unsigned long long)f->min, indent, "", (unsigned long long)f->max, indent, "");
		break;
	case FIELD_OBJECT:
		print_object(f->sub, false, indent);
		break;
	case FIELD_ARRAY:
		printf("%*stype: array\n%*smaxItems: %llu\n%*sitems:\n", indent, "", indent, "",
		       (unsigned long long)f->max, indent, "");
		print_object(f->sub, false, indent + 2);
		break;
	case FIELD_CUSTOM:
		if (!f->sub)
			break;
		printf("%*stype: array\n%*sitems:\n", indent, "", indent, "");
		print_object(f->sub, false, indent + 2);
		break;
	case FIELD_LATER: /* what asks for nothing */
		break;
	}
}

static void print_field(const struct field *f, const void *defaults, int indent)
{
	printf("%*s%s:\n", indent, "", f->key);
	if (f->help)
		print_text(indent + 2, "description", f->help);
	if (f->type == FIELD_LATER)
		print_text(indent + 2, "x-snapsafe", "not supported yet: only values that ask for nothing");
	else if (f->flags & FIELD_OURS)
		print_text(indent + 2, "x-snapsafe", "an extension");
	print_type(f, indent + 2);
	print_default(f, defaults, indent + 2);
	if (f->flags & FIELD_DEPRECATED)
		printf("%*sdeprecated: true\n", indent + 2, "");
	if (!(f->flags & FIELD_REQUIRED))
		printf("%*snullable: true\n", indent + 2, "");
}

/* partial: nothing is required, nothing has a default (a PATCH without an id). */
static void print_object(const struct field_table *table, bool partial, int indent)
{
	bool any = false;

	printf("%*stype: object\n%*sadditionalProperties: false\n", indent, "", indent, "");
	for (size_t i = 0; i < table->num_fields; i++)
		any |= table->fields[i].flags & FIELD_REQUIRED;
	if (any && !partial) {
		printf("%*srequired:\n", indent, "");
		for (size_t i = 0; i < table->num_fields; i++) {
			if (table->fields[i].flags & FIELD_REQUIRED)
				printf("%*s- %s\n", indent + 2, "", table->fields[i].key);
		}
	}
	if (table->num_fields)
		printf("%*sproperties:\n", indent, "");
	for (size_t i = 0; i < table->num_fields; i++)
		print_field(&table->fields[i], partial ? NULL : table->defaults, indent + 2);
}

static void print_parameters(const struct endpoint *ep)
{
	if (!strchr(ep->path, '{'))
		return;
	printf("      parameters:\n        - {name: id, in: path, required: true, schema: {type: string, minLength: 1, "
	       "maxLength: %d}}\n",
	       CONFIG_RESOURCE_ID_MAX);
}

static void print_phase(const struct endpoint *ep)
{
	static const struct {
		unsigned int allowed;
		const char *text;
	} phases[] = {
		{ VMM_ANY_TIME, "At any time." },
		{ VMM_BEFORE_START, "Before the machine is started or loaded." },
		{ VMM_AFTER_START, "After the machine was started or loaded." },
		{ VMM_WHILE_PAUSED, "While the machine is paused." },
	};

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		if (phases[i].allowed == ep->allowed)
			print_text(6, "description", phases[i].text);
	}
}

static void print_body(const struct endpoint *ep)
{
	if (!ep->fields && (!ep->raw || !strcmp(ep->method, "GET")))
		return;
	printf("      requestBody:\n        required: %s\n        content:\n          application/json:\n            "
	       "schema:\n",
	       ep->may_be_empty ? "false" : "true");
	if (ep->raw)
		printf("              type: object\n");
	else
		print_object(ep->fields, false, 14);
}

static void print_responses(const struct endpoint *ep)
{
	printf("      responses:\n");
	if (!strcmp(ep->method, "GET") && ep->kind != ENDPOINT_LATER) {
		printf("        \"200\":\n          description: \"The answer\"\n          content:\n            "
		       "application/json:\n              schema:\n");
		if (ep->raw)
			printf("                type: object\n");
		else if (ep->reply)
			print_object(ep->reply, false, 16);
		else
			printf("                $ref: \"#/components/schemas/VmConfig\"\n");
	} else if (ep->kind != ENDPOINT_LATER) {
		printf("        \"204\": {description: \"Done\"}\n");
	}
	printf("        \"400\": {$ref: \"#/components/responses/Refused\"}\n");
	if (ep->raw && ep->kind == ENDPOINT_OPERATION && strcmp(ep->method, "GET") != 0)
		printf("        \"413\": {$ref: \"#/components/responses/Refused\"}\n");
}

static void print_endpoint(const struct endpoint *ep)
{
	static const struct {
		const char *method, *key;
	} keys[] = { { "GET", "get" }, { "PUT", "put" }, { "PATCH", "patch" }, { "DELETE", "delete" } };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(keys[i].method, ep->method))
			printf("    %s:\n", keys[i].key);
	}
	if (ep->kind == ENDPOINT_LATER) {
		printf("      summary: \"Not supported yet: %s\"\n", ep->why);
	} else {
		print_text(6, "summary", ep->summary);
		print_phase(ep);
	}
	print_parameters(ep);
	print_body(ep);
	print_responses(ep);
}

/* A path once, with all its methods: they need not stand together in the list. */
static void print_paths(void)
{
	struct endpoint ep, other;

	printf("paths:\n");
	for (unsigned int i = 0; endpoint_at(i, &ep); i++) {
		bool seen = false;

		for (unsigned int k = 0; k < i && endpoint_at(k, &other); k++)
			seen |= !strcmp(ep.path, other.path);
		if (seen)
			continue;
		printf("  /%s:\n", ep.path);
		for (unsigned int k = i; endpoint_at(k, &other); k++) {
			if (!strcmp(ep.path, other.path))
				print_endpoint(&other);
		}
	}
}

static void print_section(const struct resource *r)
{
	printf("        %s:\n", r->section);
	if (resource_is_list(r)) {
		printf("          type: array\n          maxItems: %u\n          items:\n", r->max);
		print_object(r->fields, false, 12);
	} else {
		print_object(r->fields, false, 10);
		printf("          nullable: true\n");
	}
}

static void print_components(void)
{
	printf("components:\n"
	       "  responses:\n"
	       "    Refused:\n"
	       "      description: \"Refused: nothing has changed. One sentence says what is wrong and what is "
	       "allowed\"\n"
	       "      content: {application/json: {schema: {$ref: \"#/components/schemas/Error\"}}}\n"
	       "  schemas:\n"
	       "    Error:\n"
	       "      type: object\n"
	       "      additionalProperties: false\n"
	       "      required: [fault_message]\n"
	       "      properties:\n"
	       "        fault_message: {type: string}\n"
	       "    VmConfig:\n"
	       "      description: \"The shape of a config file\"\n"
	       "      type: object\n"
	       "      additionalProperties: false\n"
	       "      properties:\n");
	for (size_t i = 0; resources[i]; i++)
		print_section(resources[i]);
	for (const struct resource_later *later = resources_later; later->why; later++) {
		if (later->section)
			printf("        %s: {%s, nullable: true, x-snapsafe: \"not supported yet\"}\n", later->section,
			       later->is_list ? "type: array, maxItems: 0, items: {}"
					      : "type: object, maxProperties: 0");
	}
}

int main(void)
{
	printf("# SPDX-License-Identifier: Apache-2.0\n"
	       "# Made by host/vmm/mkopenapi.c from the tables of host/resource/ and host/vmm/operation.c.\n"
	       "openapi: \"3.0.3\"\n"
	       "info:\n"
	       "  title: \"The API of snapsafe-vmm\"\n"
	       "  version: \"" VMM_API_VERSION "\"\n"
	       "  description: \"Served over a Unix socket. Paths, fields and answers are Firecracker's; docs/api.md "
	       "says where "
	       "not.\"\n");
	print_paths();
	print_components();
	return 0;
}
