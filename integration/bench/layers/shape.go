package layers

import (
	"archive/tar"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
)

// Shape describes a layer. A zero field means none.
type Shape struct {
	Name  string // also the name of its top directory
	Dirs  int
	Files int
	Links int // symbolic links
	Hard  int // hard links
	// Bytes is the size of all files, nearly.
	Bytes int64
	// Skew is the spread of file sizes: 0 makes all alike, 1.8 is like Debian.
	Skew float64
}

// The race's layers.
var (
	// Small is like the layer of a RUN that changes a few files.
	Small = Shape{Name: "small", Dirs: 5, Files: 20, Bytes: 200 << 10, Skew: 1}
	// Base is like a Debian base image: 124 MB, 5,500 entries.
	Base = Shape{Name: "base", Dirs: 700, Files: 4300, Links: 450, Hard: 50, Bytes: 124e6, Skew: 1.8}
	// Many is like a tree of node_modules without the large ones.
	Many = Shape{Name: "many", Dirs: 5000, Files: 100_000, Bytes: 100 << 20, Skew: 0.5}
	// Large is like a layer of models.
	Large = Shape{Name: "large", Dirs: 1, Files: 8, Bytes: 2 << 30}
)

// Entries returns the number of entries in the layer's tar.
func (s Shape) Entries() int { return s.Dirs + s.Files + s.Links + s.Hard }

// newRandom returns a generator that depends on the shape alone.
func (s Shape) newRandom() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s.Entries()), uint64(s.Bytes)))
}

// FilePath returns the path of file n, without a leading slash.
func (s Shape) FilePath(n int) string {
	return path.Join(s.dirPath(s.dirOfFile(n)), fmt.Sprintf("file-%06d", n))
}

// dirOfFile returns the directory of file n. Neighbouring files share a directory, as
// in packages.
func (s Shape) dirOfFile(n int) int { return n * max(s.Dirs, 1) / max(s.Files, 1) % max(s.Dirs, 1) }

// dirPath returns the path of directory n. Each directory has 10 below it, so that
// depth grows with their number.
func (s Shape) dirPath(n int) string {
	if n == 0 {
		return s.Name
	}
	return path.Join(s.dirPath((n-1)/10), fmt.Sprintf("dir-%d", n))
}

// sizes returns the sizes of the files, in order.
func (s Shape) sizes() []int64 {
	random := s.newRandom()
	weights := make([]float64, s.Files)
	sum := 0.0
	for i := range weights {
		weights[i] = math.Exp(s.Skew * random.NormFloat64())
		sum += weights[i]
	}
	sizes := make([]int64, s.Files)
	for i, w := range weights {
		sizes[i] = int64(w / sum * float64(s.Bytes))
	}
	return sizes
}

// forEachHeader calls do with the header of every entry, in the order of the tar: an
// entry comes after those it needs.
func (s Shape) forEachHeader(do func(*tar.Header) error) error {
	for n := range s.Dirs {
		if err := do(header(tar.TypeDir, s.dirPath(n)+"/", 0o755)); err != nil {
			return err
		}
	}
	for n, size := range s.sizes() {
		h := header(tar.TypeReg, s.FilePath(n), 0o644)
		h.Size = size
		if err := do(h); err != nil {
			return err
		}
	}
	return s.forEachLink(do)
}

func (s Shape) forEachLink(do func(*tar.Header) error) error {
	for n := range s.Links {
		h := header(tar.TypeSymlink, s.FilePath(n)+".link", 0o777)
		h.Linkname = path.Base(s.FilePath(n))
		if err := do(h); err != nil {
			return err
		}
	}
	for n := range s.Hard {
		h := header(tar.TypeLink, s.FilePath(n)+".hard", 0o644)
		h.Linkname = s.FilePath(n)
		if err := do(h); err != nil {
			return err
		}
	}
	return nil
}

func header(kind byte, name string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: mode, ModTime: modified, Format: tar.FormatPAX}
}
