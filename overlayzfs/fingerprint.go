package overlayzfs

import (
	"context"
	"encoding/binary"
	"hash"
	"hash/maphash"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// fingerprints makes fingerprints that can be compared with each other.
type fingerprints struct{ seed maphash.Seed }

// of returns a number that another one of the same directory equals as long as nobody has
// changed a file in it: names, inodes, lengths, and the times of the last changes. It reads no
// content. Reading changes none of these.
func (f fingerprints) of(ctx context.Context, dir string) (uint64, error) {
	root, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	sum := &maphash.Hash{}
	sum.SetSeed(f.seed)
	v := fingerprinter{sum}
	st, err := fsat.StatFD(int(root.Fd()))
	if err != nil {
		return 0, err
	}
	v.add("", st)
	if err := fsat.Walk(ctx, int(root.Fd()), true, v); err != nil {
		return 0, err
	}
	return sum.Sum64(), nil
}

// fingerprinter adds the entries of a tree to a hash.
type fingerprinter struct{ hash.Hash }

func (f fingerprinter) add(name string, st unix.Stat_t) {
	raw := append([]byte(name), 0)
	for _, n := range []uint64{st.Ino, uint64(st.Mode), st.Rdev, uint64(st.Size), uint64(st.Ctim.Nano())} {
		raw = binary.LittleEndian.AppendUint64(raw, n)
	}
	_, _ = f.Write(raw) // never fails: hash.Hash
}

// Enter, File and Leave make a fingerprinter a fsat.Visitor.

func (f fingerprinter) Enter(_ int, p fsat.Path, fd int) error {
	st, err := fsat.StatFD(fd)
	if err == nil {
		f.add(p.String(), st)
	}
	return err
}

func (f fingerprinter) File(parent int, p fsat.Path, _ uint8) error {
	st, err := fsat.Stat(parent, p.Name)
	if err == nil {
		f.add(p.String(), st)
	}
	return err
}

func (f fingerprinter) Leave(int, fsat.Path) error { return nil }
