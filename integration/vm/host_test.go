package vm

import (
	"bytes"
	"os/exec"
	"slices"
	"testing"
)

func TestMissingPackages(t *testing.T) {
	got := missingPackages(func(program string) error {
		if program == "mke2fs" || program == "mmdebstrap" {
			return exec.ErrNotFound
		}
		return nil
	})
	if want := []string{"mmdebstrap", "e2fsprogs"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPartitionTable(t *testing.T) {
	table := partitionTable(1 << 30)
	// Little endian: sector 2048, and all but those 2048 of 2,097,152.
	want := []byte{0, 8, 0, 0, 0, 0xf8, 0x1f, 0}
	if got := table[446+8 : 446+16]; !bytes.Equal(got, want) {
		t.Errorf("the partition is % x, want % x", got, want)
	}
	if len(table) != sector || table[510] != 0x55 || table[511] != 0xaa {
		t.Error("no boot signature: the kernel would not look for partitions")
	}
}
