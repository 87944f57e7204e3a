// SPDX-License-Identifier: Apache-2.0

module snapsafe/tests/languages/draw

go 1.22
