package vm

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	machineDirs = "ozlab-"
	inUseFile   = "in-use"
)

// machineDir makes the directory of a machine's files. It stays locked by the
// returned file, as a sign that the machine runs.
func machineDir() (string, *os.File, error) {
	sweepMachineDirs(os.TempDir())
	for {
		dir, err := os.MkdirTemp("", machineDirs)
		if err != nil {
			return "", nil, err
		}
		path := filepath.Join(dir, inUseFile)
		inUse, err := os.Create(path)
		if err == nil {
			err = unix.Flock(int(inUse.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			os.RemoveAll(dir)
			return "", nil, err
		}
		// A sweep may have come between the two.
		if _, err := os.Stat(path); err == nil {
			return dir, inUse, nil
		}
		inUse.Close()
	}
}

// sweepMachineDirs removes the directories of processes that were killed, as
// the go command does with a test that exceeds its time: they can be large.
func sweepMachineDirs(temp string) {
	found, _ := filepath.Glob(filepath.Join(temp, machineDirs+"*", inUseFile))
	for _, path := range found {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(filepath.Dir(path))
		}
		file.Close()
	}
}

func (m *Machine) removeDir() error {
	err := os.RemoveAll(m.dir)
	m.inUse.Close()
	return err
}
