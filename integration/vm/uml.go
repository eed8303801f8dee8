package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// consoleFD is the descriptor of the console's file in a User-Mode Linux
// machine: after the ports.
const consoleFD = firstPortFD + portCount

// umlArgs is the command line of a User-Mode Linux machine. Its files are named
// relative to the machine's directory (see umlLinks): a comma, a colon or a
// space in a path would end the name. The disks are ubda to ubdd, the ports
// ttyS1 to ttyS5; guest/init gives both the names that they have under QEMU.
func umlArgs(h hardware) []string {
	args := []string{
		"mem=" + h.memory, fmt.Sprintf("ncpus=%d", h.cpus),
		"seccomp=auto", // falls back to ptrace, which costs twice as much a system call
		"initrd=" + umlInitramfs,
		"uml_dir=.", "umid=uml",
		"ubd0=cow," + umlRoot,
		"ubd1=" + umlPool,
		"ubd2r=" + umlJob,
		"ubd3rc=" + umlModules, // c: other machines have it open too
		"con=null", fmt.Sprintf("con0=null,fd:%d", consoleFD),
		"ssl=null",
	}
	for port := range portCount {
		args = append(args, fmt.Sprintf("ssl%d=fd:%d", port+1, firstPortFD+port))
	}
	if h.terminal {
		args = append(args, "con1=fd:0,fd:1")
	}
	args = append(args, "noreboot", "loglevel=4", "panic=-1")
	return append(args, h.cmdline...)
}

// Names of a User-Mode Linux machine's files in its directory.
const (
	umlInitramfs = "initramfs"
	umlRoot      = "root.img"
	umlPool      = "pool"
	umlJob       = "job.tar"
	umlModules   = "modules.img"
)

// umlLinks makes the names that umlArgs uses.
func umlLinks(dir string, h hardware) error {
	links := map[string]string{umlInitramfs: h.initramfs, umlRoot: h.root, umlPool: h.pool, umlModules: h.modules}
	for name, target := range links {
		target, err := filepath.Abs(target)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// memoryDir is the directory for the file that a User-Mode Linux machine has as
// its memory: /dev/shm where it is large enough and takes programs, otherwise
// the directory of temporary files, which may be on a disk and then is slower.
// The file has no name once the machine runs.
func memoryDir(need int64) (dir, slower string, err error) {
	shm, temporary := "/dev/shm", os.TempDir()
	reason := unfitForMemory(shm, need)
	if reason == "" {
		return shm, "", nil
	}
	if other := unfitForMemory(temporary, need); other != "" {
		return "", "", fmt.Errorf("no room for a machine's memory: %s; %s", reason, other)
	}
	return temporary, reason + ": memory is in " + temporary, nil
}

// unfitForMemory says why a directory cannot take need bytes of memory; it is
// empty where it can.
func unfitForMemory(dir string, need int64) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Sprintf("%s: %v", dir, err)
	}
	if fs.Flags&unix.ST_NOEXEC != 0 {
		return dir + " is mounted noexec"
	}
	if room := int64(fs.Bavail) * fs.Bsize; room < need {
		return fmt.Sprintf("%s has %d MiB free of the %d MiB needed", dir, room>>20, need>>20)
	}
	return ""
}

// parseMemory reads a size as QEMU and Linux take it: a number with K, M or G.
func parseMemory(text string) (int64, error) {
	number := strings.TrimRight(text, "KMG")
	shift, known := map[string]int{"K": 10, "M": 20, "G": 30}[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !known || n <= 0 || n > 1<<20 {
		return 0, fmt.Errorf("%q is no size of memory: want a number with K, M or G", text)
	}
	return n << shift, nil
}
