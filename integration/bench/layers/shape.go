package layers

import (
	"archive/tar"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
)

// Shape is what a layer is made of. The zero of a field is none of it.
type Shape struct {
	Name  string // also what its tree's top directory is called
	Dirs  int
	Files int
	Links int // symbolic ones
	Hard  int // hard links
	// Bytes are what the files come to, nearly.
	Bytes int64
	// Skew is how much files' sizes differ: 0 makes all alike, 1.8 is what a
	// Debian has.
	Skew float64
}

// The race's layers.
var (
	// Small is what a RUN that changes a few files leaves.
	Small = Shape{Name: "small", Dirs: 5, Files: 20, Bytes: 200 << 10, Skew: 1}
	// Base is like a Debian base image: 124 MB, 5,500 entries.
	Base = Shape{Name: "base", Dirs: 700, Files: 4300, Links: 450, Hard: 50, Bytes: 124e6, Skew: 1.8}
	// Many is like a tree of node_modules without the large ones.
	Many = Shape{Name: "many", Dirs: 5000, Files: 100_000, Bytes: 100 << 20, Skew: 0.5}
	// Large is like a layer of models.
	Large = Shape{Name: "large", Dirs: 1, Files: 8, Bytes: 2 << 30}
)

// Entries is how many entries the layer's tar has.
func (s Shape) Entries() int { return s.Dirs + s.Files + s.Links + s.Hard }

// seed makes each shape's numbers its own, and always the same.
func (s Shape) newRandom() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s.Entries()), uint64(s.Bytes)))
}

// FilePath is the path of a file of the layer, without a leading slash.
func (s Shape) FilePath(n int) string {
	return path.Join(s.dirPath(s.dirOfFile(n)), fmt.Sprintf("file-%06d", n))
}

// dirOfFile spreads entries over the directories in runs, as packages do.
func (s Shape) dirOfFile(n int) int { return n * max(s.Dirs, 1) / max(s.Files, 1) % max(s.Dirs, 1) }

// dirPath is the path of a directory: 10 below each, so that depth grows with them.
func (s Shape) dirPath(n int) string {
	if n == 0 {
		return s.Name
	}
	return path.Join(s.dirPath((n-1)/10), fmt.Sprintf("dir-%d", n))
}

// sizes of the files, in order.
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

// forEachHeader calls do with the header of every entry, in a tar's order: what an entry
// needs stands before it.
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
