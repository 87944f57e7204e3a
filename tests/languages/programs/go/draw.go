// SPDX-License-Identifier: Apache-2.0

// See README.md. The adapter is a source of ten lines, to be copied: docs/languages.md.
package main

import (
	"bytes"
	crypto "crypto/rand"
	"encoding/binary"
	"fmt"
	old "math/rand"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
)

const (
	warm   = 20
	draws  = 32
	length = 16
)

// kernel is a source without a state, for rand.New.
type kernel struct{}

func (kernel) Uint64() uint64 {
	var word [8]byte

	if _, err := crypto.Read(word[:]); err != nil {
		panic(err)
	}
	return binary.NativeEndian.Uint64(word[:])
}

func pair(next func() uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, next()), next())
}

type source struct {
	name string
	draw func() []byte
}

func sources(adapter bool) []source {
	v2 := rand.Uint64
	if adapter {
		v2 = rand.New(kernel{}).Uint64
	}
	return []source{
		{"crypto/rand", func() []byte {
			value := make([]byte, length)
			if _, err := crypto.Read(value); err != nil {
				panic(err)
			}
			return value
		}},
		{"math/rand/v2", func() []byte { return pair(v2) }},
		{"math/rand", func() []byte { return pair(old.Uint64) }},
	}
}

func generation(counter *os.File) []byte {
	word := make([]byte, 8)
	if _, err := counter.ReadAt(word, 0); err != nil {
		panic(err)
	}
	return word
}

func main() {
	runtime.LockOSThread() // math/rand keeps a state for each thread, and this may go on in another one
	counter, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	all := sources(len(os.Args) > 2)
	before := generation(counter)
	var text strings.Builder
	draw := func() {
		for _, s := range all {
			fmt.Fprintf(&text, "value %s %x\n", s.name, s.draw())
		}
	}

	for i := 0; i < warm; i++ {
		draw()
	}
	fmt.Println("READY")
	for bytes.Equal(generation(counter), before) {
		text.Reset()
		draw()
	}
	text.Reset()
	for i := 0; i < draws; i++ {
		draw()
	}
	fmt.Print(text.String(), "DONE\n")
}
