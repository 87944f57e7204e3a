// SPDX-License-Identifier: Apache-2.0
/*
 * The preload, with a device whose bytes the test chooses: what a function returns must follow from the bytes of this
 * call and nothing that was there before. So each is called twice, as two clones would, with the same bytes and with others.
 */
'use strict';

const assert = require('assert');
const fs = require('fs');
const test = require('node:test');

const { readSync } = fs;
let stream = null; // bytes to come, instead of the kernel's; its end is an error

fs.readSync = (fd, bytes, offset, length, position) => {
	if (!stream)
		return readSync(fd, bytes, offset, length, position);
	const piece = Math.min(3, length); // short reads happen

	assert(stream.length >= piece, 'the function asks for more than the test has');
	stream.copy(bytes, offset, 0, piece);
	stream = stream.subarray(piece);
	return piece;
};
const original = { ...require('crypto') };

require('snapsafe');
fs.readSync = readSync;
const crypto = require('crypto');

const ONES = Buffer.from([...Array(64)].map((_, i) => 255 - i));
const TWOS = Buffer.from([...Array(64)].map((_, i) => i * 3));

function draw(bytes, make) {
	stream = Buffer.from(bytes);
	try {
		return make();
	} finally {
		stream = null;
	}
}

const draws = {
	randomBytes: () => crypto.randomBytes(20).toString('hex'),
	pseudoRandomBytes: () => crypto.pseudoRandomBytes(20).toString('hex'),
	randomFillSync: () => crypto.randomFillSync(Buffer.alloc(20)).toString('hex'),
	randomUUID: () => crypto.randomUUID(),
	randomInt: () => crypto.randomInt(1e9),
	random: () => Math.random(),
	getRandomValues: () => crypto.getRandomValues(new Uint32Array(5)).join(),
	'webcrypto.randomUUID': () => crypto.webcrypto.randomUUID(),
	'webcrypto.getRandomValues': () => crypto.webcrypto.getRandomValues(new Uint32Array(5)).join(),
	...(globalThis.crypto ? { 'globalThis.crypto.randomUUID': () => globalThis.crypto.randomUUID() } : {}),
};

for (const [name, make] of Object.entries(draws))
	test(`${name} keeps nothing`, () => {
		const first = draw(ONES, make);

		assert.notStrictEqual(draw(TWOS, make), first);
		assert.strictEqual(draw(ONES, make), first);
	});

test('modules get the new functions, too', async () => {
	const { randomUUID, randomInt } = await import('crypto');

	assert.strictEqual(randomUUID, crypto.randomUUID);
	assert.strictEqual(randomInt, crypto.randomInt);
	assert.notStrictEqual(randomUUID, original.randomUUID);
});

test('UUIDs are of version 4', () => {
	for (let i = 0; i < 100; i++)
		assert.match(crypto.randomUUID(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
	assert.strictEqual(crypto.randomUUID({ disableEntropyCache: true }).length, 36);
});

test('integers fill their range and stay in it', () => {
	for (const [min, max] of [[0, 3], [-5, 5], [100, 101]]) {
		const seen = new Set([...Array(1000)].map(() => crypto.randomInt(min, max)));

		assert.deepStrictEqual([...seen].sort((a, b) => a - b), [...Array(max - min)].map((_, i) => min + i));
	}
	// 2^48 is 3 * 93824992236885 + 1: the last one would make 0 more likely.
	assert.strictEqual(draw(Buffer.from('ffffffffffff000000000001', 'hex'), () => crypto.randomInt(3)), 1);
	assert.throws(() => crypto.randomInt(5, 5), RangeError);
	assert.throws(() => crypto.randomInt(0, 2 ** 48), RangeError);
	assert.throws(() => crypto.randomInt(0.5), TypeError);
});

test('Math.random() is from 0 to less than 1', () => {
	assert.strictEqual(draw(Buffer.alloc(7, 255), Math.random), 1 - 2 ** -53);
	assert.strictEqual(draw(Buffer.alloc(7), Math.random), 0);
});

test('parts of arrays are filled, and nothing else', () => {
	const words = new Uint16Array(4);

	draw(Buffer.alloc(8, 255), () => crypto.randomFillSync(words, 1, 2));
	assert.deepStrictEqual([...words], [0, 65535, 65535, 0]);
	for (const buffer of [new ArrayBuffer(8), new DataView(new ArrayBuffer(8)), Buffer.alloc(8)])
		assert.strictEqual(crypto.randomFillSync(buffer), buffer);
	assert.throws(() => crypto.randomFillSync(words, 3, 2), RangeError);
	assert.throws(() => crypto.randomFillSync('text'), TypeError);
	assert.throws(() => crypto.webcrypto.getRandomValues(new Float32Array(2)), { name: 'TypeMismatchError' });
	assert.throws(() => crypto.webcrypto.getRandomValues(new Uint8Array(65537)), { name: 'QuotaExceededError' });
});

test('lengths are checked', () => {
	assert.strictEqual(crypto.randomBytes(0).length, 0);
	assert.throws(() => crypto.randomBytes(-1), RangeError);
	assert.throws(() => crypto.randomBytes('1'), TypeError);
	assert.throws(() => crypto.randomBytes(1, 'x'), TypeError);
});

test('callbacks come later', async () => {
	const { promisify } = require('util');
	let called = false;

	crypto.randomBytes(4, () => { called = true; });
	assert.strictEqual(called, false);
	assert.strictEqual((await promisify(crypto.randomBytes)(4)).length, 4);
	assert.strictEqual(called, true);
	assert.strictEqual(await promisify(crypto.randomInt)(1), 0);
	assert.strictEqual((await promisify(crypto.randomFill)(Buffer.alloc(4))).length, 4);
});
