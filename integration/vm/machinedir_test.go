package vm

import (
	"os"
	"testing"
)

func TestSweepMachineDirs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	running, inUse, err := machineDir()
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	left, lock, err := machineDir()
	if err != nil {
		t.Fatal(err)
	}
	lock.Close() // as the end of the process does

	sweepMachineDirs(os.TempDir())
	if _, err := os.Stat(running); err != nil {
		t.Error("the directory of a running machine was removed")
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the directory of a dead machine was left")
	}
}
