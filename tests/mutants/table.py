# SPDX-License-Identifier: GPL-2.0-or-later
"""The mutants, design by design: one line of what each breaks, and the cases that should see it."""

from __future__ import annotations

from tests.mutants.kernel_table import AROUND_IT, POLICIES
from tests.mutants.mutant import Edit, Mutant, in_mremap, in_shmem
from tests.mutants.surroundings_table import SURROUNDINGS

KHUGEPAGED, USERFAULTFD = "mm/khugepaged.c", "mm/userfaultfd.c"

# What several of them change, as the series has it.
NEWSIZE = "\tnewsize = (loff_t)end << PAGE_SHIFT;\n\n\tfilemap_invalidate_lock(inode->i_mapping);\n"
LOOK = "\toldsize = i_size_read(inode);\n\tif (newsize <= oldsize)\n\t\tgoto unlock;\n"
LOCK_AND_LOOK = f"\tfilemap_invalidate_lock(inode->i_mapping);\n{LOOK}"
PAGES = "\tif (!(info->flags & VM_NORESERVE))\n\t\tpages = VM_ACCT(newsize) - VM_ACCT(oldsize);\n"
REFUSED = "\tif (pages && security_vm_enough_memory_mm(vma->vm_mm, pages))\n\t\tgoto unlock;\n"
LOOK_AGAIN = "\tif (newsize > inode->i_size) {\n\t\t/* Only write() can have come between */\n"
SURPLUS = "\t\t\tpages -= VM_ACCT(newsize) - VM_ACCT(inode->i_size);\n"
UNLOCK = "\tvm_unacct_memory(pages);\nunlock:\n\tfilemap_invalidate_unlock(inode->i_mapping);\n"
FAULT = """\
\tif (unlikely(((loff_t)vmf->pgoff << PAGE_SHIFT) >= i_size_read(inode)) &&
\t    !shmem_fault_observes(vmf))
\t\tshmem_expand(vmf->vma);
"""
WHOSE = "\tif (!vma_is_anon_shmem(vma) || !(vma->vm_flags & VM_SHARED))\n\t\treturn;\n"
LIMIT = (
    "\tif (!shmem_expandable(inode) ||\n"
    "\t    end > min_t(u64, MAX_LFS_FILESIZE >> PAGE_SHIFT, LONG_MAX))\n\t\treturn;\n"
)
END = "\tpgoff_t end = vma->vm_pgoff + vma_pages(vma);\n\tstruct shmem_inode_info *info;\n"


def _after_fault(new: str) -> tuple[Edit, ...]:
    """With something more in the fault, once the object has been extended or not."""
    return in_shmem(FAULT, FAULT + new)


STILL_BEYOND = "\tif (((loff_t)vmf->pgoff << PAGE_SHIFT) >= i_size_read(inode))\n"

FAULT_DESIGN = (
    # Accounting.
    Mutant(
        name="no-accounting",
        breaks="an extension is not accounted for, but given back with the object",
        edits=in_shmem(PAGES, ""),
        kills=("limits.c13_committed", "limits.c16_more_than_memory"),
    ),
    Mutant(
        name="accounts-all-again",
        breaks="an extension is accounted for as if the object had had no size before",
        edits=(*in_shmem(PAGES, PAGES.replace(" - VM_ACCT(oldsize)", "")), *in_shmem(SURPLUS, "\t\t\tpages = 0;\n")),
        kills=("limits.c13_committed", "fork_share.b09_committed_returns"),
    ),
    Mutant(
        name="accounts-noreserve",
        breaks="MAP_NORESERVE is accounted for like anything else",
        edits=in_shmem(PAGES, "\tpages = VM_ACCT(newsize) - VM_ACCT(oldsize);\n"),
        kills=("limits.c14_noreserve",),
    ),
    Mutant(
        name="size-before-accounting",
        breaks="the size is set though the accounting is refused",
        edits=in_shmem(REFUSED, REFUSED.replace("goto unlock", "pages = 0")),
        kills=("limits.c16_more_than_memory", "limits.c02_siginfo", "limits.c09_strict_overcommit"),
    ),
    Mutant(
        name="gives-back-what-was-refused",
        breaks="what was refused is taken off the accounts all the same",
        edits=in_shmem(
            REFUSED,
            REFUSED.replace(
                "pages))\n\t\tgoto unlock;\n", "pages)) {\n\t\tvm_unacct_memory(pages);\n\t\tgoto unlock;\n\t}\n"
            ),
        ),
        kills=("limits.c09_strict_overcommit", "limits.c16_more_than_memory"),
    ),
    # Size and races.
    Mutant(
        name="size-may-shrink",
        breaks="the object takes the size of whichever mapping has faulted last",
        edits=(
            *in_shmem(LOOK, LOOK.replace("<=", "==")),
            *in_shmem(LOOK_AGAIN, LOOK_AGAIN.replace(" > ", " != ")),
            *in_shmem(FAULT, "\tshmem_expand(vmf->vma);\n"),
        ),
        kills=("fork_share.b07_touched_inside", "views.m04_longer_than_the_object"),
    ),
    Mutant(
        name="no-lock",
        breaks="nothing serializes those who extend at once",
        edits=(
            *in_shmem(LOCK_AND_LOOK, LOOK),
            *in_shmem("\tspin_lock(&info->lock);\n" + LOOK_AGAIN, LOOK_AGAIN),
            *in_shmem("\tspin_unlock(&info->lock);\n" + UNLOCK, "\tvm_unacct_memory(pages);\nunlock:;\n"),
        ),
        kills=("stress.h01_*", "stress.h02_size_never_shrinks"),
    ),
    Mutant(
        name="check-outside-the-lock",
        breaks="the size is looked at before the lock is taken, as a literal port of the patch of 2004 does",
        edits=(
            *in_shmem(
                LOCK_AND_LOOK, f"{LOOK.replace('goto unlock', 'return')}\tfilemap_invalidate_lock(inode->i_mapping);\n"
            ),
            *in_shmem(LOOK_AGAIN, LOOK_AGAIN.replace("newsize > inode->i_size", "newsize")),
            *in_shmem(SURPLUS, "\t\t\tpages = 0;\n"),
        ),
        kills=("stress.h01_*", "stress.h02_size_never_shrinks"),
    ),
    Mutant(
        name="inode-lock",
        breaks="the lock is i_rwsem, which write() holds while it faults in its buffer",
        edits=(
            *in_shmem(LOCK_AND_LOOK, f"\tinode_lock(inode);\n{LOOK}"),
            *in_shmem(UNLOCK, "\tvm_unacct_memory(pages);\nunlock:\n\tinode_unlock(inode);\n"),
        ),
        kills=("interfaces.g25_pwrite_from_grown_part",),
    ),
    Mutant(
        name="truncation-unlocked",
        breaks="truncation by map_files does not wait for those who extend, nor they for it",
        edits=(
            *in_shmem(
                "\tfilemap_invalidate_lock(inode->i_mapping);\n\toldsize = inode->i_size;\n",
                "\toldsize = inode->i_size;\n",
            ),
            *in_shmem(
                "\terror = 0;\nunlock:\n\tfilemap_invalidate_unlock(inode->i_mapping);\n\treturn error;\n",
                "\terror = 0;\nunlock:\n\treturn error;\n",
            ),
        ),
        kills=("stress.h06_grow_while_truncated",),
    ),
    # How far.
    Mutant(
        name="extent-without-pgoff",
        breaks="the new end is the mapping's length, wherever in the object the mapping begins",
        edits=in_shmem(END, END.replace("vma->vm_pgoff + vma_pages(vma)", "vma_pages(vma)")),
        kills=("expand.a10_split_tail", "expand.a11_tail_alone", "expand.a16_dup_at_offset_grows"),
    ),
    Mutant(
        name="one-page-short",
        breaks="the object ends a page before the mapping",
        edits=in_shmem(END, END.replace("vma_pages(vma);", "vma_pages(vma) - 1;")),
        kills=("limits.c01_last_byte", "expand.a08_grow_by_a_byte"),
    ),
    Mutant(
        name="one-page-long",
        breaks="the object ends a page behind the mapping",
        edits=in_shmem(END, END.replace("vma_pages(vma);", "vma_pages(vma) + 1;")),
        kills=("expand.a10_split_tail", "expand.a13_shrink_regrow_beyond"),
    ),
    Mutant(
        name="page-by-page",
        breaks="a fault extends by a page, not to the end of the mapping",
        edits=in_shmem(NEWSIZE, NEWSIZE.replace("(loff_t)end << PAGE_SHIFT", "i_size_read(inode) + PAGE_SIZE")),
        kills=("expand.a01_grow_touch", "limits.c13_committed"),
    ),
    Mutant(
        name="first-page-forgotten",
        breaks="a touch of the very first page beyond the object does not extend it",
        edits=in_shmem(FAULT, FAULT.replace(">= i_size_read", "> i_size_read")),
        kills=("limits.c01_last_byte", "expand.a02_grow_in_place"),
    ),
    Mutant(
        name="any-fault-extends",
        breaks="every fault extends the object to the end of the mapping, inside it, too",
        edits=in_shmem(FAULT, "\tshmem_expand(vmf->vma);\n"),
        kills=("fork_share.b07_touched_inside",),
    ),
    Mutant(
        name="only-writes-extend",
        breaks="reading beyond the object is SIGBUS until somebody writes there",
        edits=in_shmem(FAULT, FAULT.replace("\tif (unlikely(", "\tif ((vmf->flags & FAULT_FLAG_WRITE) && unlikely(")),
        kills=("expand.a06_new_pages_zero", "interfaces.g03_write_from"),
    ),
    Mutant(
        name="offset-in-an-unsigned-long",
        breaks="the offset of a fault is shifted in 32 bits",
        edits=in_shmem(FAULT, FAULT.replace("((loff_t)vmf->pgoff << PAGE_SHIFT)", "(vmf->pgoff << PAGE_SHIFT)")),
        kills=("expand.a30_past_four_gibibytes",),
        machine="i386-4k-pae",
    ),
    Mutant(
        name="size-in-an-unsigned-long",
        breaks="the new size is shifted in 32 bits",
        edits=in_shmem(NEWSIZE, NEWSIZE.replace("(loff_t)end", "end")),
        kills=("expand.a30_past_four_gibibytes",),
        machine="i386-4k-pae",
    ),
    Mutant(
        name="no-largest-size",
        breaks="an end beyond what a file can have is not refused",
        edits=in_shmem(LIMIT, "\tif (!shmem_expandable(inode))\n\t\treturn;\n"),
        kills=("limits.c20_*",),
        machine="i386-4k-pae",
    ),
    # Whose.
    Mutant(
        name="never-marked",
        breaks="objects are not marked as expandable",
        edits=in_shmem("\tshmem_set_expandable(file_inode(file));\n\tif (vma->vm_file)", "\tif (vma->vm_file)"),
        kills=("expand.a01_grow_touch",),
    ),
    Mutant(
        name="all-that-looks-anonymous",
        breaks="the mark is not asked for: memfd, SysV shared memory and unlinked files grow, too",
        edits=in_shmem(
            "\treturn SHMEM_I(inode)->flags & SHMEM_EXPANDABLE;\n", "\treturn true || SHMEM_I(inode)->flags;\n"
        ),
        kills=("guards.i01_memfd", "guards.i03_*", "guards.i04_tmpfs_unlinked"),
    ),
    Mutant(
        name="sysv-marked",
        breaks="the mark is set where SysV shared memory has its object made, too",
        edits=in_shmem(
            "\treturn __shmem_file_setup(shm_mnt, name, size, flags, S_PRIVATE);\n}\n"
            "EXPORT_SYMBOL_GPL(shmem_kernel_file_setup);\n",
            "\tstruct file *made = __shmem_file_setup(shm_mnt, name, size, flags, S_PRIVATE);\n\n"
            "\tif (!IS_ERR(made))\n\t\tshmem_set_expandable(file_inode(made));\n\treturn made;\n}\n"
            "EXPORT_SYMBOL_GPL(shmem_kernel_file_setup);\n",
        ),
        kills=("guards.i03_*",),
    ),
    Mutant(
        name="memfd-marked",
        breaks="the mark is set where memfd has its object made, too",
        edits=in_shmem(
            "\treturn __shmem_file_setup(shm_mnt, name, size, flags, 0);\n}\nEXPORT_SYMBOL_GPL(shmem_file_setup);\n",
            "\tstruct file *made = __shmem_file_setup(shm_mnt, name, size, flags, 0);\n\n"
            "\tif (!IS_ERR(made))\n\t\tshmem_set_expandable(file_inode(made));\n\treturn made;\n}\n"
            "EXPORT_SYMBOL_GPL(shmem_file_setup);\n",
        ),
        kills=("guards.i01_memfd", "guards.i08_sealed_memfd", "interfaces.g26_*"),
    ),
    Mutant(
        name="private-too",
        breaks="a private mapping of the object, by way of map_files, extends it",
        edits=in_shmem(WHOSE, "\tif (!vma_is_anon_shmem(vma))\n\t\treturn;\n"),
        kills=("interfaces.g24_private_view",),
    ),
    # What refusal is.
    Mutant(
        name="oom-for-refused",
        breaks="a refused extension is VM_FAULT_OOM, which retries for ever",
        edits=_after_fault(STILL_BEYOND + "\t\treturn VM_FAULT_OOM;\n"),
        kills=("limits.c11_no_fault_oom",),
    ),
    Mutant(
        name="segv-for-refused",
        breaks="a refused extension is SIGSEGV",
        edits=_after_fault(STILL_BEYOND + "\t\treturn VM_FAULT_SIGSEGV;\n"),
        kills=("limits.c02_siginfo", "limits.c16_more_than_memory"),
    ),
    Mutant(
        name="refusal-hurts-old-pages",
        breaks="where the mapping's end cannot be had, no page of it can be touched",
        edits=in_shmem(
            FAULT,
            "\tshmem_expand(vmf->vma);\n"
            "\tif (((loff_t)(vmf->vma->vm_pgoff + vma_pages(vmf->vma)) << PAGE_SHIFT) > i_size_read(inode) &&\n"
            "\t    shmem_expandable(inode))\n\t\treturn VM_FAULT_SIGBUS;\n",
        ),
        kills=("limits.c10_old_pages_still_work", "fork_share.b07_touched_inside"),
    ),
    Mutant(
        name="file-size-limit",
        breaks="RLIMIT_FSIZE is asked, as for files, and sends SIGXFSZ",
        edits=in_shmem(NEWSIZE, NEWSIZE.replace("\n\n", "\n\tif (inode_newsize_ok(inode, newsize))\n\t\treturn;\n\n")),
        kills=("limits.c04_rlimit_fsize",),
    ),
    # Policy, userfaultfd, huge pages, /dev/zero.
    Mutant(
        name="no-policy",
        breaks="mbind of shared anonymous memory stays in the mapping and never reaches the object",
        edits=in_shmem(
            "static const struct vm_operations_struct shmem_anon_vm_ops = {\n\t.fault\t\t= shmem_fault,\n"
            "\t.map_pages\t= filemap_map_pages,\n#ifdef CONFIG_NUMA\n\t.set_policy     = shmem_set_policy,\n"
            "\t.get_policy     = shmem_get_policy,\n#endif\n",
            "static const struct vm_operations_struct shmem_anon_vm_ops = {\n\t.fault\t\t= shmem_fault,\n"
            "\t.map_pages\t= filemap_map_pages,\n",
        ),
        kills=("numa_policy.e03_mbind_after_growth", "numa_policy.e04_childs_mbind"),
    ),
    Mutant(
        name="not-with-userfaultfd",
        breaks="a mapping that userfaultfd watches is not extended",
        edits=in_shmem(FAULT, FAULT.replace("\tif (unlikely(", "\tif (!userfaultfd_missing(vmf->vma) && unlikely(")),
        kills=("interfaces.g17_uffd_event",),
    ),
    Mutant(
        name="filling-does-not-extend",
        breaks="userfaultfd cannot fill beyond the object until somebody has touched it",
        edits=(Edit(file=USERFAULTFD, old="\t\tshmem_expand(dst_vma);\n", new="\t\tcond_resched();\n"),),
        kills=("interfaces.g18_uffd_copy_first",),
    ),
    Mutant(
        name="huge-across-the-end",
        breaks="a fault may put a huge page across the object's end",
        edits=in_shmem(
            "\t\tif (shmem_huge_fits(inode, aligned_index + pages) &&\n"
            "\t\t    !xa_find(&mapping->i_pages, &aligned_index,\n",
            "\t\tif (!xa_find(&mapping->i_pages, &aligned_index,\n",
        ),
        kills=("thp.d02_written_past_the_end", "thp.d04_read_before_written"),
    ),
    Mutant(
        name="huge-never-fits",
        breaks="a huge page that ends with the object is held to be across its end",
        edits=in_shmem(
            "\t       end <= DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);\n",
            "\t       end < DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);\n",
        ),
        kills=("thp.d05_huge_where_it_fits", "thp.d03_collapse"),
    ),
    Mutant(
        name="collapse-across-the-end",
        breaks="khugepaged may put a huge page across the object's end",
        edits=(
            Edit(
                file=KHUGEPAGED,
                old="\tif (is_shmem && !shmem_huge_fits(mapping->host, end)) {\n",
                new="\tif (is_shmem && end < start) {\n",
            ),
        ),
        kills=("thp.h08_khugepaged_at_the_end",),
    ),
    Mutant(
        name="collapse-does-not-extend",
        breaks="MADV_COLLAPSE over the object's end is refused, not granted",
        edits=(
            Edit(
                file=KHUGEPAGED,
                old="\t\t\t\t\t     pgoff + HPAGE_PMD_NR))\n\t\t\t\tshmem_expand(vma);\n",
                new="\t\t\t\t\t     pgoff + HPAGE_PMD_NR))\n\t\t\t\tcond_resched();\n",
            ),
        ),
        kills=("thp.d03_collapse",),
    ),
    Mutant(
        name="dev-zero-keeps-its-offset",
        breaks="a shared mapping of /dev/zero begins at its offset, the object does not reach to its end",
        edits=in_shmem("\tvma->vm_pgoff = 0;\n", ""),
        kills=("expand.a23_dev_zero_at_offset",),
    ),
    # What a refusal leaves.
    Mutant(
        name="refusal-forfeits",
        breaks="an object that was refused an extension once is never extended again",
        edits=in_shmem(
            REFUSED,
            REFUSED.replace("pages))\n", "pages)) {\n\t\tinfo->flags &= ~SHMEM_EXPANDABLE;\n").replace(
                "unlock;\n", "unlock;\n\t}\n"
            ),
        ),
        kills=("refused.l01_*", "refused.l02_*", "refused.l03_*"),
    ),
    Mutant(
        name="accounts-a-page-more",
        breaks="every extension is accounted for with a page too much",
        edits=in_shmem(PAGES, PAGES.replace(" - VM_ACCT(oldsize)", " - VM_ACCT(oldsize) + 1")),
        kills=("refused.l09_fits_into_memory", "refused.l16_many_objects", "views.m01_read_only"),
    ),
    # Views.
    Mutant(
        name="never-writable-too",
        breaks="a view that can never be written extends the object",
        edits=in_shmem(WHOSE, WHOSE.replace("(vma->vm_flags & VM_SHARED)", "(vma->vm_flags & VM_MAYSHARE)")),
        kills=("views.m02_never_writable",),
    ),
    Mutant(
        name="writable-only",
        breaks="a read-only view does not extend the object",
        edits=in_shmem(WHOSE, WHOSE.replace("(vma->vm_flags & VM_SHARED)", "(vma->vm_flags & VM_WRITE)")),
        kills=("views.m01_read_only",),
    ),
    Mutant(
        name="views-noreserve",
        breaks="whether an extension is accounted for follows from the view, not from the object",
        edits=in_shmem(PAGES, PAGES.replace("info->flags", "vma->vm_flags")),
        kills=("views.m17_noreserve_view",),
    ),
    # Sizes of files.
    Mutant(
        name="short-write-extends",
        breaks="write() extends a file by what was asked for, not by what was copied",
        edits=in_shmem("\t\tshmem_raise_size(inode, pos + copied);\n", "\t\tshmem_raise_size(inode, pos + len);\n"),
        kills=("files.n02_short_write",),
    ),
    Mutant(
        name="fallocate-rounds-up",
        breaks="fallocate extends a file by whole pages",
        edits=in_shmem(
            "\t\tshmem_raise_size(inode, offset + len);\n",
            "\t\tshmem_raise_size(inode, round_up(offset + len, PAGE_SIZE));\n",
        ),
        kills=("files.n03_*",),
    ),
    Mutant(
        name="fallocate-keeps-no-size",
        breaks="fallocate extends a file that is to keep its size",
        edits=in_shmem("\tif (!(mode & FALLOC_FL_KEEP_SIZE) && offset + len >", "\tif (offset + len >"),
        kills=("files.n03_*",),
    ),
    Mutant(
        name="seek-to-the-page",
        breaks="lseek takes a file to end with its last whole page",
        edits=in_shmem(
            "\toffset = mapping_seek_hole_data(mapping, offset, i_size_read(inode),\n",
            "\toffset = mapping_seek_hole_data(mapping, offset, round_down(i_size_read(inode), PAGE_SIZE),\n",
        ),
        kills=("files.n04_*",),
    ),
    Mutant(
        name="truncation-unaccounted",
        breaks="truncation by map_files changes the size and accounts for nothing",
        edits=in_shmem(
            "\t\terror = shmem_reacct_size(info->flags, oldsize, newsize);\n",
            "\t\terror = shmem_reacct_size(info->flags | VM_NORESERVE, oldsize, newsize);\n",
        ),
        kills=("files.n08_anonymous_object",),
    ),
    # Huge pages of others.
    Mutant(
        name="no-file-across-its-end",
        breaks="memfd and tmpfs have no huge page across their end any more",
        edits=in_shmem(
            "\treturn !shmem_expandable(inode) ||\n\t       end <= DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);\n",
            "\treturn end <= DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);\n",
        ),
        kills=("thp.d12_*",),
    ),
    Mutant(
        name="no-huge-by-fault",
        breaks="no fault finds a huge page that fits",
        edits=in_shmem(
            "\t\tif (shmem_huge_fits(inode, aligned_index + pages) &&\n",
            "\t\tif (pages < 2 && shmem_huge_fits(inode, aligned_index + pages) &&\n",
        ),
        kills=("thp.d12_*", "thp.d13_whole_huge_pages"),
    ),
    Mutant(
        name="no-collapse",
        breaks="shared memory is collapsed only where a huge page does not fit",
        edits=(
            Edit(
                file=KHUGEPAGED,
                old="\tif (is_shmem && !shmem_huge_fits(mapping->host, end)) {\n",
                new="\tif (is_shmem && shmem_huge_fits(mapping->host, end)) {\n",
            ),
        ),
        kills=("thp.d14_collapse_whole",),
    ),
    Mutant(
        name="dev-zero-placed-by-its-offset",
        breaks="the address of a shared mapping of /dev/zero is chosen for the offset that it does not keep",
        edits=(
            Edit(
                file="drivers/char/mem.c",
                old="\t\treturn shmem_get_unmapped_area(NULL, addr, len, 0, flags);\n",
                new="\t\treturn shmem_get_unmapped_area(NULL, addr, len, pgoff, flags);\n",
            ),
        ),
        kills=("thp.d15_address_of_dev_zero",),
    ),
)

# As the series has them.
RESERVE = """\
\tif (security_vm_enough_memory_mm(current->mm, pages))
\t\treturn -ENOMEM;
\treturn pages;
"""
LOOK_FIRST = "\tif (newsize <= i_size_read(inode))\n\t\tgoto unacct;\n"
COMMIT = """\
\tif (newsize > inode->i_size) {
\t\tif (!(info->flags & VM_NORESERVE))
\t\t\tneeded = VM_ACCT(newsize) - VM_ACCT(inode->i_size);
\t\tif (needed <= reserved) {
\t\t\ti_size_write(inode, newsize);
"""
LOCK_BOTH = "\tfilemap_invalidate_lock(inode->i_mapping);\n\tspin_lock(&info->lock);\n"
UNLOCK_BOTH = "\tspin_unlock(&info->lock);\n\tfilemap_invalidate_unlock(inode->i_mapping);\nunacct:\n"


MREMAP_DESIGN = (
    Mutant(
        series="expand-mremap",
        name="mremap-no-accounting",
        breaks="an extension is not accounted for, but given back with the object",
        edits=(
            *in_shmem(RESERVE, "\treturn 0;\n"),
            *in_shmem("\t\tif (needed <= reserved) {\n", "\t\tneeded = reserved;\n\t\tif (needed <= reserved) {\n"),
        ),
        kills=("limits.c13_committed", "limits.c16_*"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-refusal-ignored",
        breaks="the mapping grows though the object cannot: SIGBUS, as if nothing had been done",
        edits=in_shmem(RESERVE, RESERVE.replace("return -ENOMEM", "return 0")),
        kills=("limits.c16_*", "limits.c09_*"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-surplus-kept",
        breaks="what two have reserved for the same extension is not given back by the one who comes second",
        edits=in_shmem("\tvm_unacct_memory(reserved - needed);\n", "\t(void)needed;\n"),
        kills=("stress.h01_*",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-no-lock",
        breaks="nothing serializes those who extend at once",
        edits=(*in_shmem(LOCK_BOTH + COMMIT, COMMIT), *in_shmem(UNLOCK_BOTH, "unacct:\n")),
        kills=("stress.h01_*", "stress.h02_*"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-size-may-shrink",
        breaks="the object takes the size of whichever mapping has grown last",
        edits=(
            *in_shmem(LOOK_FIRST, LOOK_FIRST.replace("<=", "==")),
            *in_shmem(COMMIT, COMMIT.replace(">", "!=", 1).replace("needed <= reserved", "1")),
        ),
        kills=("fork_share.b03_parent_grows_less", "fork_share.b08_siblings", "stress.h01_*"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-extends-early",
        breaks="the object is extended before the last step that can fail, and stays so",
        edits=in_shmem(
            RESERVE,
            RESERVE.replace(
                "\treturn pages;\n",
                "\tspin_lock(&SHMEM_I(inode)->lock);\n\ti_size_write(inode, newsize);\n"
                "\tspin_unlock(&SHMEM_I(inode)->lock);\n\treturn pages;\n",
            ),
        ),
        kills=("limits.c18_map_count", "limits.c13_committed", "limits.c19_*"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-not-in-place",
        breaks="growth in place does not extend the object",
        edits=in_mremap("\t\t\tshmem_expand_commit(vma, end, charged);\n", "\t\t\t(void)end;\n"),
        kills=("expand.a02_grow_in_place",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-not-moved",
        breaks="growth that moves does not extend the object",
        edits=in_mremap("\t\tif (new_len > old_len)\n\t\t\tshmem_expand_commit(new_vma, new_end, reserved);\n", ""),
        kills=("expand.a04_grow_move", "expand.a15_dup_larger"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-in-place-without-pgoff",
        breaks="growth in place takes the mapping's length for the object's end",
        edits=in_mremap(
            "\t\t\tpgoff_t end = vma->vm_pgoff + vma_pages(vma) + pages;\n",
            "\t\t\tpgoff_t end = vma_pages(vma) + pages;\n",
        ),
        kills=("expand.a10_split_tail", "expand.a11_tail_alone", "expand.a16_dup_at_offset_grows"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-moved-without-pgoff",
        breaks="growth that moves takes the mapping's length for the object's end",
        edits=in_mremap("\tnew_end = new_pgoff + (new_len >> PAGE_SHIFT);\n", "\tnew_end = new_len >> PAGE_SHIFT;\n"),
        kills=("expand.a10_split_tail", "expand.a11_tail_alone", "expand.a16_dup_at_offset_grows"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-reserves-noreserve",
        breaks="MAP_NORESERVE is accounted for like anything else",
        edits=in_shmem("\tif (SHMEM_I(inode)->flags & VM_NORESERVE)\n\t\treturn 0;\n", ""),
        kills=("limits.c14_noreserve",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-memfd-too",
        breaks="the mark is not asked for: memfd, SysV shared memory and unlinked files grow, too",
        edits=in_shmem(
            "\treturn vma_is_anon_shmem(vma) && (vma->vm_flags & VM_SHARED) &&\n"
            "\t       (SHMEM_I(file_inode(vma->vm_file))->flags & SHMEM_EXPANDABLE);\n",
            "\treturn vma_is_anon_shmem(vma) && (vma->vm_flags & VM_SHARED);\n",
        ),
        kills=("guards.i01_memfd", "guards.i03_sysv"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-no-largest-size",
        breaks="an end beyond what a file can have is not refused",
        edits=in_shmem("\tif (end > min_t(u64, MAX_LFS_FILESIZE >> PAGE_SHIFT, LONG_MAX))\n\t\treturn -EINVAL;\n", ""),
        kills=("limits.c20_past_the_last_page",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-reserves-all-again",
        breaks="what is set aside is the object's new size, not what it lacks; the surplus is given back later",
        edits=in_shmem("\tpages = VM_ACCT(newsize) - VM_ACCT(oldsize);\n", "\tpages = VM_ACCT(newsize);\n"),
        kills=("refused.l09_fits_into_memory",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-moved-from-the-start",
        breaks="growth that moves takes the piece to begin where its mapping does",
        edits=in_mremap(
            "\tnew_end = new_pgoff + (new_len >> PAGE_SHIFT);\n",
            "\tnew_end = vma->vm_pgoff + (new_len >> PAGE_SHIFT);\n",
        ),
        kills=("views.m16_*",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-no-duplicates",
        breaks="a duplicate that is longer than the object does not extend it",
        edits=in_mremap(
            "\t\tif (new_len > old_len)\n\t\t\tshmem_expand_commit(new_vma, new_end, reserved);\n",
            "\t\tif (new_len > old_len && old_len)\n\t\t\tshmem_expand_commit(new_vma, new_end, reserved);\n",
        ),
        kills=("views.m13_pieces_duplicated", "views.m16_duplicate_from_inside"),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-views-noreserve",
        breaks="whether an extension is accounted for follows from the view, not from the object",
        edits=(
            *in_shmem("\tif (SHMEM_I(inode)->flags & VM_NORESERVE)\n", "\tif (vma->vm_flags & VM_NORESERVE)\n"),
            *in_shmem("\t\tif (!(info->flags & VM_NORESERVE))\n", "\t\tif (!(vma->vm_flags & VM_NORESERVE))\n"),
        ),
        kills=("views.m17_noreserve_view",),
    ),
    Mutant(
        series="expand-mremap",
        name="mremap-failed-copy-keeps",
        breaks="what was accounted for is not given back when the mapping cannot be copied",
        edits=in_mremap("\t\tvm_unacct_memory(reserved);\n\t\treturn -ENOMEM;\n\t}\n", "\t\treturn -ENOMEM;\n\t}\n"),
        kills=("refused.l20_no_memory_for_a_mapping",),
    ),
)

MUTANTS = FAULT_DESIGN + MREMAP_DESIGN + AROUND_IT + POLICIES + SURROUNDINGS
