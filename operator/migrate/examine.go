package migrate

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// examineImage notes why an image layer will be carried as a tree, as far as its record
// tells, and returns how much room the layer takes.
func (p *planner) examineImage(s source, it item, layer *tree) (size int64, err error) {
	names := imageNames(p.records, it.image.Chain)
	record, err := p.docker.TarSplit(p.plan.Job.From, it.image.Chain)
	if err != nil {
		how := "is carried as a tree, because its tar cannot be made again"
		if s.isUpperOnly() {
			how = "is copied, and cannot be compared with Docker's record"
		}
		p.plan.addNote("layer %.12s of %s %s: %v", it.id, names, how, err)
		return it.size, nil
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	if reason := verify.FindLoss(record); reason != "" && !s.isUpperOnly() && !p.Back {
		p.plan.addNote("layer %.12s of %s is carried as a tree, because its tar cannot be made again or unpacked: %s", it.id, names, reason)
	}
	holes, err := sumHoles(record, layer)
	return max(it.size-holes, 0), err
}

// largeFile is the size from which a file's holes are measured.
const largeFile = 1 << 20

// sumHoles returns how much of the recorded size of large files takes no room. A record that
// cannot be read, and a file that cannot be found, have none.
func sumHoles(record *dockerstore.TarSplit, layer *tree) (holes int64, err error) {
	finder := treestack.NewFinder(treestack.Layer{Dir: layer.File})
	defer func() { err = errors.Join(err, finder.Close()) }()
	_ = record.ReadEntries(func(e dockerstore.TarEntry) error {
		if e.Size < largeFile {
			return nil
		}
		found, err := finder.Find(rebuild.CleanName(e.Header.Name))
		if err == nil && found.Stat.Mode&unix.S_IFMT == unix.S_IFREG && found.Stat.Size == e.Size {
			holes += max(e.Size-found.Stat.Blocks*512, 0)
		}
		return nil
	})
	return holes, nil
}

// skipAdvice says that an image whose layer cannot be read can be left out.
func (p *planner) skipAdvice(it item) string {
	if it.image == nil {
		return ""
	}
	return fmt.Sprintf(" for %s (leave the image out with --skip)", imageNames(p.records, it.image.Chain))
}

// noteFlags notes the flags of chattr(1) on files that a container has changed, which its
// copy does not have.
func (p *planner) noteFlags(it item, layer *tree, changes []treediff.Change) {
	resolver := fsat.NewStrictResolver(int(layer.Fd()))
	defer resolver.Forget()
	count, first := 0, ""
	for _, change := range changes {
		name := strings.TrimPrefix(change.Path, "/")
		dir, base := path.Split(name)
		if change.Kind == treediff.Delete {
			continue
		}
		dirfd, err := resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
		if err != nil {
			continue
		}
		if flags, err := fsat.LostFlags(dirfd, base); err == nil && flags != "" {
			if count++; first == "" {
				first = fmt.Sprintf("%q (+%s)", name, flags)
			}
		}
	}
	if count > 0 {
		p.plan.addNote("container %.12s loses the flags of chattr on %d files, such as %s", it.owner, count, first)
	}
}
