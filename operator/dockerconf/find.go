package dockerconf

import (
	"os"
	"path/filepath"
	"strings"
)

// FindFile returns the path of the daemon.json that the running dockerd reads, or DefaultFile
// when none runs. NixOS names another one on dockerd's command line. A dockerd in another mount
// name space is a container's, and of several with different files none is believed.
func FindFile(proc string) string {
	own, err := os.Readlink(filepath.Join(proc, "self/ns/mnt"))
	if err != nil {
		return DefaultFile
	}
	paths, err := filepath.Glob(filepath.Join(proc, "[0-9]*/comm"))
	if err != nil {
		return DefaultFile
	}
	found := ""
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		dir := filepath.Dir(path)
		if namespace, linkErr := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || linkErr != nil || namespace != own || string(raw) != "dockerd\n" {
			continue
		}
		file := configFlag(filepath.Join(dir, "cmdline"))
		if found != "" && found != file {
			return DefaultFile
		}
		found = file
	}
	if found == "" {
		return DefaultFile
	}
	return found
}

// configFlag returns the value of --config-file in a command line, or DefaultFile.
func configFlag(cmdline string) string {
	raw, err := os.ReadFile(cmdline)
	if err != nil {
		return DefaultFile
	}
	args := strings.Split(string(raw), "\x00")
	for i, arg := range args {
		name, value, inOne := strings.Cut(arg, "=")
		switch {
		case name != "--config-file":
		case inOne && value != "":
			return value
		case !inOne && i+1 < len(args) && args[i+1] != "":
			return args[i+1]
		}
	}
	return DefaultFile
}
