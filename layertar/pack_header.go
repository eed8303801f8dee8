package layertar

import (
	"archive/tar"
	"errors"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

var tarTypes = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg,
	unix.S_IFDIR: tar.TypeDir,
	unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFCHR: tar.TypeChar,
	unix.S_IFBLK: tar.TypeBlock,
	unix.S_IFIFO: tar.TypeFifo,
}

// newHeader returns a file's header as overlay2 writes it: PAX where USTAR does not
// suffice, the modification time in whole seconds, no names of owners.
func (p *packer) newHeader(name string, st unix.Stat_t) (*tar.Header, error) {
	typ, ok := tarTypes[st.Mode&unix.S_IFMT]
	if !ok {
		return nil, errChanged
	}
	uid, gid, err := p.toContainer(st.Uid, st.Gid)
	if err != nil {
		return nil, err
	}
	hdr := &tar.Header{
		Format:   tar.FormatPAX,
		Typeflag: typ,
		Name:     name,
		Mode:     int64(st.Mode & 0o7777),
		Uid:      uid,
		Gid:      gid,
		ModTime:  mtimeSeconds(st),
	}
	switch typ {
	case tar.TypeReg:
		hdr.Size = st.Size
	case tar.TypeChar, tar.TypeBlock:
		hdr.Devmajor = int64(unix.Major(st.Rdev))
		hdr.Devminor = int64(unix.Minor(st.Rdev))
	}
	return hdr, nil
}

func mtimeSeconds(st unix.Stat_t) time.Time { return time.Unix(st.Mtim.Sec, 0) }

// linkToFirst turns the header into a hard link when the file is in the tar under another
// name, and reports whether it did.
func (p *packer) linkToFirst(hdr *tar.Header, name string, st unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	first, ok := p.seen[fsat.InodeOf(st)]
	if !ok {
		p.seen[fsat.InodeOf(st)] = name
		return false
	}
	hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first, 0
	hdr.Devmajor, hdr.Devminor = 0, 0
	return true
}

// opaqueHeader returns the header of the marker inside an opaque directory.
func opaqueHeader(dir *tar.Header) *tar.Header {
	return &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     dir.Name + whiteout.OpaqueMarker,
		Mode:     dir.Mode & 0o777,
		Uid:      dir.Uid,
		Gid:      dir.Gid,
	}
}

// whiteoutHeader returns the header of a whiteout of name. The kernel makes whiteouts as
// the host's root. When the ID map does not have root, the owner stays unmapped.
func (p *packer) whiteoutHeader(name string, st unix.Stat_t) *tar.Header {
	uid, gid, err := p.toContainer(st.Uid, st.Gid)
	if err != nil {
		uid, gid = int(st.Uid), int(st.Gid)
	}
	return &tar.Header{
		Format:   tar.FormatPAX,
		Typeflag: tar.TypeReg,
		Name:     whiteoutPath(name),
		Mode:     0o600,
		Uid:      uid,
		Gid:      gid,
		ModTime:  mtimeSeconds(st),
	}
}

func whiteoutPath(name string) string {
	dir, base := path.Split(name)
	return dir + whiteout.Name(base)
}

// addXattrs adds the attributes that belong to a layer, capabilities and user.*, to the
// header. It reports whether the directory is opaque.
func (p *packer) addXattrs(hdr *tar.Header, fd int) (opaque bool, err error) {
	names, err := fsat.ListXattrFD(fd)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		value, wanted, err := p.readXattr(fd, name)
		switch {
		case err != nil:
			return false, err
		case wanted && name == overlayfs.OpaqueXattr:
			opaque = hdr.Typeflag == tar.TypeDir && overlayfs.IsOpaque(value)
		case wanted:
			addPAXRecord(hdr, paxXattr+escapeKey.Replace(name), value)
		}
	}
	return opaque, nil
}

// readXattr returns an attribute's value and whether the layer needs it. An attribute
// that vanishes meanwhile is not needed.
func (p *packer) readXattr(fd int, name string) (value []byte, wanted bool, err error) {
	switch {
	case name == Capabilities, strings.HasPrefix(name, "user."):
	case p.overlay && name == overlayfs.OpaqueXattr:
	case p.overlay && (name == overlayfs.RedirectXattr || name == overlayfs.MetacopyXattr):
		return nil, false, fault.New(fault.Unsupported, "%s: part of the file is in a lower layer; mount with redirect_dir=off,metacopy=off", name)
	default:
		return nil, false, nil
	}
	value, err = fsat.GetXattrFD(fd, name)
	if errors.Is(err, unix.ENODATA) {
		return nil, false, nil
	}
	if name == Capabilities {
		value = PortableCapabilities(value)
	}
	return value, err == nil, err
}

func addPAXRecord(hdr *tar.Header, key string, value []byte) {
	if hdr.PAXRecords == nil {
		hdr.PAXRecords = make(map[string]string)
	}
	hdr.PAXRecords[key] = string(value)
}
