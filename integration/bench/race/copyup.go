package race

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// copyUpRace measures the first change of an image's files.
type copyUpRace struct {
	slug, title string
	image       layers.Shape
	count, warm int // files in a sample, and files changed before it
	field       []string
	rounds      int
	budget      time.Duration
}

var (
	// copyUpField has ours once, because a copy-up does not use the socket.
	copyUpField = []string{result.Ours, result.OursDisabled, result.ZFS, result.Overlay2, result.Overlay2Dis, result.Overlay2Tmpfs}

	smallCopyUp = copyUpRace{
		slug: "small", title: "first change of a file of 4 KB", count: 200, warm: 20, rounds: 2, budget: 70 * time.Second,
		image: layers.Shape{Name: "copyup-small", Dirs: 1, Files: 220, Bytes: 220 << 12},
		field: copyUpField,
	}
	tenMBCopyUp = copyUpRace{
		slug: "10mb", title: "first change of a file of 10 MB", count: 4, warm: 1, rounds: 3, budget: 30 * time.Second,
		image: layers.Shape{Name: "copyup-10mb", Dirs: 1, Files: 5, Bytes: 50e6},
		field: copyUpField,
	}
)

func copyUpGroup(c copyUpRace) group {
	id := "copyup." + c.slug
	note := fmt.Sprintf("Open for writing in a new container; the mean of %d files, after %d others. The files are on disk and read before. zfs has no copy-up: it clones the image when the container is made.", c.count, c.warm)
	return group{
		name:    id,
		budget:  c.budget,
		rows:    []result.Row{makeTimeRow("copy-up", id, note, "%s", c.title)},
		entries: entriesFor(c.field, c.rounds, func(l *turn) error { return l.measureCopyUp(c, id) }),
	}
}

func (l *turn) measureCopyUp(c copyUpRace, id string) error {
	image, err := l.Image(c.image)
	if err != nil {
		return err
	}
	container, init, err := l.createContainer(image)
	if err != nil {
		return err
	}
	// A copy-up waits for a file that is not on disk yet, whatever sync says.
	if err := l.awaitIdle(); err != nil {
		return err
	}
	err = l.Fill(container, func(dir string) error {
		names := c.names(dir)
		if err := openForWriting(names[:c.warm]...); err != nil {
			return err
		}
		begin := time.Now()
		if err := openForWriting(names[c.warm:]...); err != nil {
			return err
		}
		l.addSample(id, milliseconds(time.Since(begin))/float64(c.count))
		return nil
	})
	if err != nil {
		return err
	}
	return l.removeAll(init, container)
}

// names returns the paths of the files below dir, the warm ones first.
func (c copyUpRace) names(dir string) []string {
	var names []string
	for n := range c.warm + c.count {
		names = append(names, filepath.Join(dir, c.image.FilePath(n)))
	}
	return names
}
