// SPDX-License-Identifier: Apache-2.0
/*
 * Node keeps random bytes for later: 128 UUIDs for crypto.randomUUID(), 6 KiB for crypto.randomInt(), numbers for
 * Math.random(), and all others come from OpenSSL's generator, which lives in the process. Two clones of a virtual machine use
 * them twice. After
 *
 *	node --require snapsafe program.js		or NODE_OPTIONS="--require=snapsafe"
 *
 * each of these functions asks the kernel each time, and keeps nothing. Its generator is new in each clone with the kernel's
 * patches or the driver of snapsafe.
 *
 * What Node draws within OpenSSL, keys, signatures and TLS, is not reached from here: for this OpenSSL needs the provider of
 * snapsafe (OPENSSL_CONF).
 */
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const { syncBuiltinESMExports } = require('module');

const DEVICE = '/dev/urandom';
const LIMIT = 2 ** 31 - 1; // of a request, as in Node
const INT_BITS = 48; // randomInt() has ranges up to that

// Opened here: a program may have no more descriptors, or another root, when it needs bytes. Never closed.
const device = fs.openSync(DEVICE, 'r');
const { readSync } = fs;

function fill(bytes) {
	let have = 0;

	while (have < bytes.length)
		have += readSync(device, bytes, have, bytes.length - have, null);
	return bytes;
}

// A view of `length` bytes, or all, of what the caller has: Buffer, typed array, DataView, ArrayBuffer.
function viewOf(buffer, offset = 0, size = undefined) {
	const isBuffer = buffer instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer);

	if (!isBuffer && !ArrayBuffer.isView(buffer))
		throw new TypeError('The "buf" argument must be an ArrayBuffer or a view of one');
	// As in Node, both count elements of the array, not bytes.
	const unit = buffer.BYTES_PER_ELEMENT || 1;
	const start = offset * unit;
	const length = size === undefined ? buffer.byteLength - start : size * unit;

	if (!Number.isInteger(start) || !Number.isInteger(length) || start < 0 || length < 0 || start + length > buffer.byteLength)
		throw new RangeError(`"offset" ${offset} and "size" ${size} must lie within the buffer's ${buffer.byteLength / unit}`);
	return isBuffer ? new Uint8Array(buffer, start, length)
		: new Uint8Array(buffer.buffer, buffer.byteOffset + start, length);
}

function expectFunction(callback) {
	if (typeof callback !== 'function')
		throw new TypeError('The "callback" argument must be a function');
}

// The answer comes later, as callers rely on.
function later(callback, value) {
	process.nextTick(callback, null, value);
}

function randomBytes(size, callback) {
	if (typeof size !== 'number')
		throw new TypeError('The "size" argument must be a number');
	if (!(size >= 0 && size <= LIMIT))
		throw new RangeError(`"size" is ${size}; 0 to ${LIMIT} are allowed`);
	if (callback !== undefined)
		expectFunction(callback);
	const bytes = fill(Buffer.alloc(Math.floor(size)));

	if (callback === undefined)
		return bytes;
	later(callback, bytes);
	return undefined;
}

function randomFillSync(buffer, offset, size) {
	fill(viewOf(buffer, offset, size));
	return buffer;
}

function randomFill(buffer, ...rest) {
	const callback = rest.pop();

	expectFunction(callback);
	later(callback, randomFillSync(buffer, ...rest));
}

function randomUUID() {
	const bytes = fill(Buffer.alloc(16));

	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

// Below a range: what is beyond its last multiple is drawn again, or some numbers were more likely than others.
function below(range) {
	const end = 2 ** INT_BITS - 2 ** INT_BITS % range;
	let drawn;

	do {
		drawn = fill(Buffer.alloc(INT_BITS / 8)).readUIntBE(0, INT_BITS / 8);
	} while (drawn >= end);
	return drawn % range;
}

function randomInt(min, max, callback) {
	if (max === undefined || typeof max === 'function')
		return randomInt(0, min, max);
	if (callback !== undefined)
		expectFunction(callback);
	if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max))
		throw new TypeError('The arguments "min" and "max" must be safe integers');
	const range = max - min;

	if (!(range > 0 && range < 2 ** INT_BITS))
		throw new RangeError(`"max" is ${max}; more than "min", and less than 2 ** ${INT_BITS} more, is allowed`);
	const value = min + below(range);

	if (callback === undefined)
		return value;
	later(callback, value);
	return undefined;
}

// 53 bits are all that a number from 0 to 1 has.
function random() {
	const bytes = fill(Buffer.alloc(7));

	return (bytes.readUIntBE(0, 6) * 32 + (bytes[6] & 31)) / 2 ** 53;
}

Object.assign(crypto, { randomBytes, randomFill, randomFillSync, randomUUID, randomInt });
for (const name of ['pseudoRandomBytes', 'prng', 'rng'])
	if (Object.prototype.hasOwnProperty.call(crypto, name))
		Object.defineProperty(crypto, name, { value: randomBytes, configurable: true, writable: true });
Math.random = random;

// The web's functions: of globalThis.crypto, too, and of crypto.getRandomValues(), which calls it.
const web = Object.getPrototypeOf(crypto.webcrypto);

Object.defineProperty(web, 'randomUUID', { value: randomUUID, configurable: true, writable: true, enumerable: true });
Object.defineProperty(web, 'getRandomValues', {
	value: function getRandomValues(array) {
		if (!ArrayBuffer.isView(array) || array instanceof DataView || array instanceof Float32Array || array instanceof Float64Array)
			throw new DOMException('The data argument must be an integer-type TypedArray', 'TypeMismatchError');
		if (array.byteLength > 65536)
			throw new DOMException(`The requested length of ${array.byteLength} exceeds 65,536 bytes`, 'QuotaExceededError');
		return randomFillSync(array);
	},
	configurable: true,
	writable: true,
	enumerable: true,
});

// `import { randomUUID } from 'crypto'` takes them from there.
syncBuiltinESMExports();
