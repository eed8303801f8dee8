package race

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usage is the space and memory of a contender and the machine, in bytes.
type usage struct{ disk, memory, cache int64 }

func (l *turn) readUsage() (u usage, err error) {
	if u.disk, err = l.ReadUsed(); err != nil {
		return usage{}, err
	}
	info, err := readFigures("/proc/meminfo", 1)
	if err != nil {
		return usage{}, err
	}
	arc, err := readFigures("/proc/spl/kstat/zfs/arcstats", 2)
	if err != nil {
		return usage{}, err
	}
	const kib = 1024
	u.cache = info["Cached"] * kib
	u.memory = (info["MemTotal"]-info["MemFree"]-info["Buffers"])*kib - u.cache - arc["size"]
	return u, nil
}

// readFigures reads a file of lines with a name and numbers. It returns the numbers of
// a column by name.
func readFigures(name string, column int) (map[string]int64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseFigures(string(text), column), nil
}

func parseFigures(text string, column int) map[string]int64 {
	found := map[string]int64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) <= column {
			continue
		}
		if n, err := strconv.ParseInt(words[column], 10, 64); err == nil {
			found[strings.TrimSuffix(words[0], ":")] = n
		}
	}
	return found
}

// processFigures are the memory, in bytes, and the threads of a process.
type processFigures struct{ rss, peak, threads int64 }

func readProcessUsage(pid int) (processFigures, error) {
	f, err := readFigures(fmt.Sprintf("/proc/%d/status", pid), 1)
	if err != nil {
		return processFigures{}, err
	}
	const kib = 1024
	return processFigures{rss: f["VmRSS"] * kib, peak: f["VmHWM"] * kib, threads: f["Threads"]}, nil
}

// readMappedFile maps a file, reads all of it and unmaps it.
func readMappedFile(name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}
