# Compiler and linker flags, taken one by one when the tool chain accepts them without a word.

# CB_ADD_CFLAG(VARIABLE, FLAG...): append each flag that the compiler accepts to VARIABLE.
AC_DEFUN([CB_ADD_CFLAG], [
  for cb_flag in $2; do
    AC_MSG_CHECKING([whether $CC accepts $cb_flag])
    cb_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $cb_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes])
       $1="$$1 $cb_flag"],
      [AC_MSG_RESULT([no])])
    CFLAGS=$cb_saved_CFLAGS
  done
])

# CB_ADD_LDFLAG(VARIABLE, FLAG...): the same for the linker.
AC_DEFUN([CB_ADD_LDFLAG], [
  for cb_flag in $2; do
    AC_MSG_CHECKING([whether the linker accepts $cb_flag])
    cb_saved_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS -Werror $cb_flag"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes])
       $1="$$1 $cb_flag"],
      [AC_MSG_RESULT([no])])
    LDFLAGS=$cb_saved_LDFLAGS
  done
])

# CB_CHECK_FORTIFY(VARIABLE): the highest _FORTIFY_SOURCE level that compiles without a warning, unless the
# user or the distribution has chosen one. Needs the optimizer, so the user's CFLAGS decide.
AC_DEFUN([CB_CHECK_FORTIFY], [
  AS_CASE([" $CPPFLAGS $CFLAGS "],
    [*_FORTIFY_SOURCE*], [cb_fortify=user],
    [AC_CACHE_CHECK([for the level of _FORTIFY_SOURCE], [cb_cv_fortify], [
      cb_cv_fortify=no
      for cb_level in 3 2; do
        cb_saved_CPPFLAGS=$CPPFLAGS
        cb_saved_CFLAGS=$CFLAGS
        CPPFLAGS="$CPPFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$cb_level"
        CFLAGS="$CFLAGS -Werror"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]], [])], [cb_cv_fortify=$cb_level])
        CPPFLAGS=$cb_saved_CPPFLAGS
        CFLAGS=$cb_saved_CFLAGS
        test "$cb_cv_fortify" = no || break
      done])
     AS_IF([test "$cb_cv_fortify" != no],
       [$1="$$1 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$cb_cv_fortify"])
     cb_fortify=$cb_cv_fortify])
])
