package layertar

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// maxMemory is what a tar may add to the memory of the process.
const maxMemory = 64 << 20

// memoryWatch passes a tar on, and keeps the highest use of memory that it sees on the way.
type memoryWatch struct {
	io.Reader
	left int // until the next look
	peak uint64
}

func (m *memoryWatch) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if m.left -= n; m.left < 0 {
		m.left = 1 << 20
		m.look()
	}
	return n, err
}

func (m *memoryWatch) look() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.peak = max(m.peak, s.HeapInuse)
}

// writeEntries streams a tar of n entries.
func writeEntries(n int, entry func(i int) (tar.Header, []byte)) io.Reader {
	r, w := io.Pipe()
	go func() {
		out := tar.NewWriter(w)
		for i := range n {
			hdr, body := entry(i)
			hdr.Size = int64(len(body))
			if err := out.WriteHeader(&hdr); err != nil {
				w.CloseWithError(err)
				return
			}
			if _, err := out.Write(body); err != nil { // the reader has given up
				return
			}
		}
		w.CloseWithError(out.Close())
	}()
	return r
}

// TestMemoryIsBounded extracts tars that make a careless reader remember all of them.
func TestMemoryIsBounded(t *testing.T) {
	body := make([]byte, 128<<10+1) // its buffer is twice as large
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 15)
	tests := map[string]io.Reader{
		"names that exist already": writeEntries(1200/raceShare, func(i int) (tar.Header, []byte) {
			return header(tar.TypeReg, fmt.Sprintf("f%d", i%(600/raceShare)), 0o644), body
		}),
		"whiteouts with long names": writeEntries(20000/raceShare, func(i int) (tar.Header, []byte) {
			return header(tar.TypeReg, fmt.Sprintf("%s.wh.%0200d", deep, i), 0o644), nil
		}),
	}
	for what, r := range tests {
		runtime.GC()
		dir, _ := newDir(t)
		watch := &memoryWatch{Reader: r}
		watch.look()
		before := watch.peak
		if _, err := Extract(t.Context(), dir, watch, Options{Base: true}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if watch.look(); watch.peak-before > maxMemory {
			t.Errorf("%s: %d MiB", what, (watch.peak-before)>>20)
		}
	}
}

// TestHeavyAttributesDoNotQueue: each file that waits for a worker holds its attributes.
func TestHeavyAttributesDoNotQueue(t *testing.T) {
	dir, path := newDir(t)
	x, err := newExtractor(t.Context(), int(dir.Fd()), tar.NewReader(bytes.NewReader(nil)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	for name, records := range map[string]map[string]string{
		"light": {paxXattr + "user.a": "1"},
		"large": {paxXattr + "bogus.a": strings.Repeat("x", maxQueuedAttributes)},
		"many":  {},
	} {
		if name == "many" {
			for i := range 1100 {
				records[fmt.Sprint(paxXattr, "bogus.", i)] = ""
			}
		}
		hdr := header(tar.TypeReg, name, 0o644)
		hdr.PAXRecords = records
		if err := x.createEntry(name, &hdr); err != nil {
			t.Fatal(err)
		}
		if waits := len(x.order.pending) == 0; waits != (name != "light") {
			t.Errorf("%s: extraction goes on before the file is there: %v", name, !waits)
		}
		if err := x.waitPending(); err != nil {
			t.Fatal(err)
		}
		lstat(t, filepath.Join(path, name))
	}
}

// TestDirTimesListSpills keeps more than fits into its memory.
func TestDirTimesListSpills(t *testing.T) {
	dir, _ := newDir(t)
	x, err := newExtractor(t.Context(), int(dir.Fd()), tar.NewReader(bytes.NewReader(nil)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	const n = 200000 / min(raceShare, 2)
	name := func(i int) string { return fmt.Sprintf("%d/%030d/%d", i%3, i*7919, i) }
	for i := range n {
		if err := x.addDirTimes(name(i), minTime, maxTime.Add(-1)); err != nil {
			t.Fatal(err)
		}
	}
	if x.dirs.file == nil || x.dirs.memory.Len() > maxDirTimes {
		t.Errorf("%d bytes are in memory, and the file is %v", x.dirs.memory.Len(), x.dirs.file)
	}
	i := 0
	err = x.dirs.each(func(d dirTimes) error {
		if d.path != name(i) || !d.atime.Equal(minTime) || !d.mtime.Equal(maxTime.Add(-1)) {
			return fmt.Errorf("element %d is %+v", i, d)
		}
		i++
		return nil
	})
	if err != nil || i != n {
		t.Errorf("%d elements, %v", i, err)
	}
}
