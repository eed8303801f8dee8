package dockerconf

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFindFile reads command lines of processes.
func TestFindFile(t *testing.T) {
	type process struct{ comm, namespace, cmdline string }
	nix := process{"dockerd", "mnt:[1]", "/nix/store/x/bin/dockerd\x00--group=docker\x00--config-file=/nix/store/y-daemon.json\x00"}
	for name, tt := range map[string]struct {
		processes []process
		want      string
	}{
		"none":                 {nil, DefaultFile},
		"without the flag":     {[]process{{"dockerd", "mnt:[1]", "dockerd\x00-H\x00fd://\x00"}}, DefaultFile},
		"of NixOS":             {[]process{nix, {"sh", "mnt:[1]", "sh\x00"}}, "/nix/store/y-daemon.json"},
		"in two words":         {[]process{{"dockerd", "mnt:[1]", "dockerd\x00--config-file\x00/a.json\x00"}}, "/a.json"},
		"without a value":      {[]process{{"dockerd", "mnt:[1]", "dockerd\x00--config-file\x00"}}, DefaultFile},
		"of a container":       {[]process{{"dockerd", "mnt:[2]", "dockerd\x00--config-file=/a.json\x00"}}, DefaultFile},
		"a container's beside": {[]process{nix, {"dockerd", "mnt:[2]", "dockerd\x00--config-file=/a.json\x00"}}, "/nix/store/y-daemon.json"},
		"two of the host":      {[]process{nix, {"dockerd", "mnt:[1]", "dockerd\x00--config-file=/a.json\x00"}}, DefaultFile},
		"another program's":    {[]process{{"tail", "mnt:[1]", "tail\x00--config-file=/a.json\x00"}}, DefaultFile},
		"two with one file":    {[]process{nix, nix}, "/nix/store/y-daemon.json"},
	} {
		proc := t.TempDir()
		write := func(id string, p process) {
			dir := filepath.Join(proc, id)
			if err := errors.Join(
				os.MkdirAll(filepath.Join(dir, "ns"), 0o700), os.Symlink(p.namespace, filepath.Join(dir, "ns/mnt")),
				os.WriteFile(filepath.Join(dir, "comm"), []byte(p.comm+"\n"), 0o600), os.WriteFile(filepath.Join(dir, "cmdline"), []byte(p.cmdline), 0o600),
			); err != nil {
				t.Fatal(err)
			}
		}
		write("self", process{"overlayzfs", "mnt:[1]", "overlayzfs\x00"})
		for i, p := range tt.processes {
			write(string(rune('1'+i)), p)
		}
		if got := FindFile(proc); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
