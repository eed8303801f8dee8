package probes

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"fmt"
)

// program is the file of a Go program.
type program struct {
	*elf.File
	path  string
	table *gosym.Table
}

// openProgram reads the function table of a program. Every Go program has the table,
// for stack traces. In a position-independent program it has no section of its own.
func openProgram(path string) (*program, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	p := &program{File: f, path: path}
	if err := p.readTable(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return p, nil
}

// tableMagic begins the table since Go 1.20, followed by the sizes of an instruction's
// quantum (1 on amd64, 4 on arm64) and of a pointer.
var tableMagic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0}

const (
	pointerSize      = 8
	countOffset      = 8  // offset of the number of functions
	textOffset       = 24 // offset of the first function's address
	fewestOfAll      = 1000
	mostOfAll        = 10_000_000
	relocationSize   = 24
	relocationAddend = 16
	headerLength     = 64
)

func (p *program) readTable() error {
	for _, s := range p.Sections {
		if s.Type == elf.SHT_NOBITS || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return err
		}
		at := findTable(data)
		if at < 0 {
			continue
		}
		text, err := p.textAddress(s.Addr+uint64(at)+textOffset, data[at+textOffset:])
		if err != nil {
			return err
		}
		p.table, err = gosym.NewTable(nil, gosym.NewLineTable(data[at:], text))
		return err
	}
	return errors.New("the program has no table of Go functions")
}

// findTable returns the offset of the table in a section, or -1.
func findTable(data []byte) int {
	for from := 0; ; {
		at := bytes.Index(data[from:], tableMagic)
		if at < 0 || len(data) < from+at+headerLength {
			return -1
		}
		at += from
		quantum, pointer := data[at+len(tableMagic)], data[at+len(tableMagic)+1]
		count := binary.LittleEndian.Uint64(data[at+countOffset:])
		if (quantum == 1 || quantum == 4) && pointer == pointerSize && count >= fewestOfAll && count <= mostOfAll {
			return at
		}
		from = at + 1
	}
}

// textAddress returns the address where functions begin, from the table's field. In a
// position-independent program the field's relocation has it. Since Go 1.26 the field
// is zero, and functions begin with the code section.
func (p *program) textAddress(field uint64, value []byte) (uint64, error) {
	address, err := p.readRelocation(field)
	if err != nil || address != 0 {
		return address, err
	}
	if address = binary.LittleEndian.Uint64(value); address != 0 {
		return address, nil
	}
	text := p.Section(".text")
	if text == nil {
		return 0, errors.New("the program has no section .text")
	}
	return text.Addr, nil
}

// readRelocation returns the value that a relocation puts into a field, or 0 when there
// is none.
func (p *program) readRelocation(field uint64) (uint64, error) {
	relocs := p.Section(".rela.dyn")
	if relocs == nil {
		return 0, nil
	}
	entries, err := relocs.Data()
	if err != nil {
		return 0, err
	}
	for ; len(entries) >= relocationSize; entries = entries[relocationSize:] {
		if binary.LittleEndian.Uint64(entries) == field {
			return binary.LittleEndian.Uint64(entries[relocationAddend:]), nil
		}
	}
	return 0, nil
}

// function is where a function begins and returns, as offsets in the file.
type function struct {
	entry   uint64
	returns []uint64
}

// findFunction finds a function by its full name. It returns nil when the program lacks
// it.
func (p *program) findFunction(name string) (*function, error) {
	found := p.table.LookupFunc(name)
	if found == nil {
		return nil, nil
	}
	code, entry, err := p.readCode(found.Entry, found.End)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &function{entry: entry}
	offsets, err := findReturns(p.Machine, code)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, offset := range offsets {
		f.returns = append(f.returns, entry+offset)
	}
	return f, nil
}

// readCode returns the bytes between two addresses, and their offset in the file.
func (p *program) readCode(from, to uint64) ([]byte, uint64, error) {
	for _, s := range p.Progs {
		if s.Type != elf.PT_LOAD || from < s.Vaddr || to > s.Vaddr+s.Filesz {
			continue
		}
		code := make([]byte, to-from)
		if _, err := s.ReadAt(code, int64(from-s.Vaddr)); err != nil {
			return nil, 0, err
		}
		return code, from - s.Vaddr + s.Off, nil
	}
	return nil, 0, fmt.Errorf("no segment holds %#x to %#x", from, to)
}
