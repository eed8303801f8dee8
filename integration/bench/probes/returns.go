package probes

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// findReturns returns the offsets of the return instructions in a function's code.
func findReturns(machine elf.Machine, code []byte) ([]uint64, error) {
	switch machine {
	case elf.EM_X86_64:
		return returnsAMD64(code)
	case elf.EM_AARCH64:
		return returnsARM64(code), nil
	default:
		return nil, fmt.Errorf("no probes on %v", machine)
	}
}

// returnsAMD64 decodes instructions from the beginning, because a byte alone says
// nothing. Go puts no data between instructions.
func returnsAMD64(code []byte) ([]uint64, error) {
	var found []uint64
	for at := 0; at < len(code); {
		i, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return nil, fmt.Errorf("instruction at +%#x: %w", at, err)
		}
		if i.Op == x86asm.RET {
			found = append(found, uint64(at))
		}
		at += i.Len
	}
	return found, nil
}

func returnsARM64(code []byte) []uint64 {
	const size, ret = 4, 0xd65f03c0
	var found []uint64
	for at := 0; at+size <= len(code); at += size {
		if binary.LittleEndian.Uint32(code[at:]) == ret {
			found = append(found, uint64(at))
		}
	}
	return found
}

// goroutineRegister returns the register that points to the current goroutine.
func goroutineRegister(machine elf.Machine) string {
	if machine == elf.EM_AARCH64 {
		return "%x28"
	}
	return "%r14"
}
