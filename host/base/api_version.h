/* SPDX-License-Identifier: Apache-2.0 */
/* The release of Firecracker whose API, command line and jailer these are; clients compare it as a semantic version. */
#ifndef BASE_API_VERSION_H
#define BASE_API_VERSION_H

#define VMM_API_VERSION "1.17.0"

#endif
