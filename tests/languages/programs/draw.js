// SPDX-License-Identifier: Apache-2.0
// See README.md. The adapter is Node's option --require, and not seen here; `key` is a key pair that OpenSSL makes.
'use strict';

const crypto = require('crypto');
const fs = require('fs');

const WARM = 20, DRAWS = 32, LEN = 16;
const counter = fs.openSync(process.argv[2], 'r');

function generation() {
	const word = Buffer.alloc(8);

	fs.readSync(counter, word, 0, 8, 0);
	return word.readBigUInt64LE();
}

function pair(make) { // two numbers of 64 bits
	const bytes = Buffer.alloc(LEN);

	bytes.writeDoubleLE(make(), 0);
	bytes.writeDoubleLE(make(), 8);
	return bytes.toString('hex');
}

const sources = {
	randomBytes: () => crypto.randomBytes(LEN).toString('hex'),
	randomUUID: () => crypto.randomUUID().replaceAll('-', ''),
	randomInt: () => pair(() => crypto.randomInt(2 ** 48 - 1)),
	getRandomValues: () => Buffer.from(crypto.webcrypto.getRandomValues(new Uint8Array(LEN))).toString('hex'),
	key: () => crypto.generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).subarray(-LEN).toString('hex'),
	'Math.random': () => pair(Math.random),
};

function draw() {
	return Object.entries(sources).map(([name, source]) => `value ${name} ${source()}\n`);
}

const before = generation();

for (let i = 0; i < WARM; i++)
	draw();
fs.writeSync(1, 'READY\n');
while (generation() === before)
	draw();
const drawn = [];

for (let i = 0; i < DRAWS; i++)
	drawn.push(...draw());
fs.writeSync(1, `${drawn.join('')}DONE\n`);
